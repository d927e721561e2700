//! Kernels on sizes that networks have: GFLOP/s and what part of the machine's peak that is, or GB/s.
//!
//! `cargo bench --bench kernels -- [PART OF A NAME ...]`
//!
//! One thread, the least time of many calls; a multiply-accumulate is two operations, bytes are those
//! read and written once. What is small stays in a cache between calls, as between the nodes of a
//! network.

#![allow(clippy::print_stdout)]

mod machine;

use std::hint::black_box;
use std::time::{Duration, Instant};

use mpq::kernels::{
    Axis, BlockedConv, BlockedDepthwise, Buffer, ConvInput, ConvShape, Gemm, LANES, Map, Operand,
    Side, Zip, blocked_len, fake_quantize, fake_quantize_per_channel, global_average_pool,
    layer_norm_rows, map, max_pool, pack, packed_len, quantization_error, softmax_rows,
    sum_squared_difference, sum_squares, to_blocked, to_plain, zip_in_place,
};

const NO_CLAMP: [f32; 2] = [f32::NEG_INFINITY, f32::INFINITY];
const RELU6: [f32; 2] = [0., 6.];

fn main() {
    let parts: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let bench = Bench { parts, peak_macs_per_s: machine::peak_macs_per_s() };
    match bench.peak_macs_per_s {
        Some(peak) => println!("peak {:.1} GFLOP/s", 2. * peak / 1e9),
        None => println!("peak unknown"),
    }
    convolutions(&bench);
    depthwise_convolutions(&bench);
    products(&bench);
    products_with_cold_weights(&bench);
    rows(&bench);
    maps(&bench);
    quantization(&bench);
    layouts_and_pools(&bench);
}

struct Bench {
    /// What is benched: names that hold one of these; all if there are none.
    parts: Vec<String>,
    peak_macs_per_s: Option<f64>,
}

/// What a call does.
#[derive(Clone, Copy)]
enum Work {
    Macs(usize),
    Bytes(usize),
}

impl Bench {
    /// `prepare` is not timed.
    fn run<T>(
        &self,
        name: &str,
        work: Work,
        state: &mut T,
        prepare: impl Fn(&mut T),
        call: impl Fn(&mut T),
    ) {
        if !self.parts.is_empty() && !self.parts.iter().any(|part| name.contains(part)) {
            return;
        }
        let (begin, mut least) = (Instant::now(), Duration::MAX);
        let mut n_calls = 0;
        while n_calls < 20 || begin.elapsed() < Duration::from_millis(50) {
            prepare(state);
            let start = Instant::now();
            call(black_box(&mut *state));
            least = least.min(start.elapsed());
            n_calls += 1;
        }
        let time_s = least.as_secs_f64();
        let rate = match work {
            Work::Macs(macs) => self.flops_text(macs as f64 / time_s),
            Work::Bytes(bytes) => format!("{:7.1} GB/s", bytes as f64 / time_s / 1e9),
        };
        println!("{name:38} {:9.2} us  {rate}", time_s * 1e6);
    }

    fn flops_text(&self, macs_per_s: f64) -> String {
        let of_peak = |peak: f64| format!("  {:3.0} % of peak", 100. * macs_per_s / peak);
        let of_peak = self.peak_macs_per_s.map_or(String::new(), of_peak);
        format!("{:7.1} GFLOP/s{of_peak}", 2. * macs_per_s / 1e9)
    }
}

/// Numbers in [-0.5, 0.5).
fn numbers(len: usize) -> Buffer {
    let values: Vec<f32> = (0..len).map(|i| (i * 7919 % 1000) as f32 / 1000. - 0.5).collect();
    Buffer::from(values.as_slice())
}

/// Along both sides of an image.
fn axis(input: usize, kernel: usize, stride: usize, dilation: usize, pad: usize) -> Axis {
    let output = (input + 2 * pad - (kernel - 1) * dilation - 1) / stride + 1;
    Axis { input, output, kernel, stride, dilation, pads: [pad, pad] }
}

fn square(c_in: usize, c_out: usize, groups: usize, axis: Axis) -> ConvShape {
    ConvShape { batch: 1, groups, c_in, c_out, axes: [Axis::UNIT, axis, axis] }
}

/// Those with the input; what meets padding is not computed.
fn conv_macs(shape: &ConvShape) -> usize {
    let taps = |axis: &Axis| (0..axis.kernel).map(|k| axis.inside(k).len()).sum::<usize>();
    shape.c_out * (shape.c_in / shape.groups) * shape.axes.iter().map(taps).product::<usize>()
}

fn planes(shape: &ConvShape) -> [usize; 2] {
    let sizes = |size: fn(&Axis) -> usize| shape.axes.iter().map(size).product();
    [sizes(|axis| axis.input), sizes(|axis| axis.output)]
}

fn weights(shape: &ConvShape) -> Buffer {
    let window: usize = shape.axes.iter().map(|axis| axis.kernel).product();
    numbers(shape.c_out * (shape.c_in / shape.groups) * window)
}

fn convolutions(bench: &Bench) {
    use ConvInput::{Blocked, Plain};

    #[rustfmt::skip]
    let cases = [
        ("conv 3x3 s2 3-32 at 224, plain", 3, 32, axis(224, 3, 2, 1, 1), Plain),
        ("conv 14x14 s14 3-384 at 224, plain", 3, 384, axis(224, 14, 14, 1, 0), Plain),
        ("conv 3x3 16-16 at 32", 16, 16, axis(32, 3, 1, 1, 1), Blocked),
        ("conv 3x3 32-32 at 16", 32, 32, axis(16, 3, 1, 1, 1), Blocked),
        ("conv 3x3 64-64 at 8", 64, 64, axis(8, 3, 1, 1, 1), Blocked),
        ("conv 3x3 64-64 at 56", 64, 64, axis(56, 3, 1, 1, 1), Blocked),
        ("conv 3x3 256-256 at 14", 256, 256, axis(14, 3, 1, 1, 1), Blocked),
        ("conv 3x3 d12 160-128 at 33", 160, 128, axis(33, 3, 1, 12, 12), Blocked),
        ("conv 1x1 16-96 at 112", 16, 96, axis(112, 1, 1, 1, 0), Blocked),
        ("conv 1x1 96-24 at 56", 96, 24, axis(56, 1, 1, 1, 0), Blocked),
        ("conv 1x1 144-40 at 28", 144, 40, axis(28, 1, 1, 1, 0), Blocked),
        ("conv 1x1 480-80 at 14", 480, 80, axis(14, 1, 1, 1, 0), Blocked),
        ("conv 1x1 112-672 at 14", 112, 672, axis(14, 1, 1, 1, 0), Blocked),
        ("conv 1x1 1152-320 at 7", 1152, 320, axis(7, 1, 1, 1, 0), Blocked),
        ("conv 1x1 320-1280 at 7", 320, 1280, axis(7, 1, 1, 1, 0), Blocked),
    ];
    for (name, c_in, c_out, axis, input) in cases {
        let shape = square(c_in, c_out, 1, axis);
        let conv = BlockedConv::new(&shape, input).expect("one group falls on blocks");
        let [plane, _] = planes(&shape);
        let x = match input {
            Plain => numbers(c_in * plane),
            Blocked => numbers(blocked_len(1, c_in, plane)),
        };
        let w = Buffer::from(conv.pack(&weights(&shape)).as_slice());
        let (bias, mut y) = (numbers(blocked_len(1, c_out, 1)), numbers(conv.output_len()));
        let call = |y: &mut Buffer| conv.run(&x, &w, &bias, RELU6, y, |_, _| {});
        bench.run(name, Work::Macs(conv_macs(&shape)), &mut y, |_| {}, call);
    }
}

fn depthwise_convolutions(bench: &Bench) {
    let cases = [
        ("depthwise 3x3 32 at 112", 32, axis(112, 3, 1, 1, 1)),
        ("depthwise 3x3 s2 96 at 112", 96, axis(112, 3, 2, 1, 1)),
        ("depthwise 5x5 s2 144 at 56", 144, axis(56, 5, 2, 1, 2)),
        ("depthwise 3x3 240 at 28", 240, axis(28, 3, 1, 1, 1)),
        ("depthwise 3x3 d2 480 at 33", 480, axis(33, 3, 1, 2, 2)),
        ("depthwise 5x5 480 at 14", 480, axis(14, 5, 1, 1, 2)),
        ("depthwise 5x5 1152 at 7", 1152, axis(7, 5, 1, 1, 2)),
    ];
    for (name, channels, axis) in cases {
        let shape = square(channels, channels, channels, axis);
        let conv = BlockedDepthwise::new(&shape).expect("it is depthwise");
        let x = numbers(blocked_len(1, channels, planes(&shape)[0]));
        let w = Buffer::from(conv.pack(&weights(&shape)).as_slice());
        let (bias, mut y) = (numbers(blocked_len(1, channels, 1)), numbers(conv.output_len()));
        let call = |y: &mut Buffer| conv.run(&x, &w, &bias, RELU6, y, |_, _| {});
        bench.run(name, Work::Macs(conv_macs(&shape)), &mut y, |_| {}, call);
    }
}

fn products(bench: &Bench) {
    // Times a product, so that a call takes long enough to be timed.
    let cases = [
        ("gemm 512x512x512", [512, 512, 512], 1),
        ("gemm 257x384x384", [257, 384, 384], 1),
        ("gemm 257x384x1536", [257, 384, 1536], 1),
        ("gemm 257x1536x384", [257, 1536, 384], 1),
        ("gemm 257x64x257, 6 heads", [257, 64, 257], 6),
        ("gemm 257x257x64, 6 heads", [257, 257, 64], 6),
        ("gemm 64x384x384", [64, 384, 384], 1),
        ("gemm 64x384x1536", [64, 384, 1536], 1),
        ("gemm 64x32x64, 12 heads", [64, 32, 64], 12),
        ("gemm 1x1280x1000", [1, 1280, 1000], 1),
    ];
    for (name, [rows, depth, columns], n_times) in cases {
        let gemm = Gemm { rows, depth, columns, x_step: depth, y_step: columns };
        let x = numbers(rows * depth);
        let mut w = Buffer::zeros(packed_len(depth, columns));
        pack(&numbers(depth * columns), depth, columns, [columns, 1], &mut w);
        let bias = numbers(columns.next_multiple_of(LANES));
        let mut y = numbers(rows * columns);
        let call = |y: &mut Buffer| {
            for _ in 0..n_times {
                gemm.run(&x, &w, &bias, NO_CLAMP, y, None);
            }
        };
        let macs = Work::Macs(n_times * rows * depth * columns);
        bench.run(name, macs, &mut y, |_| {}, call);
        let name = format!("pack {depth}x{columns}");
        let from = numbers(depth * columns);
        let pack_rows = |w: &mut Buffer| pack(&from, depth, columns, [columns, 1], w);
        bench.run(&name, Work::Bytes(8 * depth * columns), &mut w, |_| {}, pack_rows);
        let pack_columns = |w: &mut Buffer| pack(&from, depth, columns, [1, depth], w);
        let name = format!("pack {depth}x{columns}, transposed");
        bench.run(&name, Work::Bytes(8 * depth * columns), &mut w, |_| {}, pack_columns);
    }
}

/// As in a network, where all the other weights were read since: each call takes the next of many.
fn products_with_cold_weights(bench: &Bench) {
    const COLD_BYTES: usize = 1 << 28;

    let cases = [
        ("gemm 257x384x1536, cold weights", [257, 384, 1536]),
        ("gemm 64x384x1536, cold weights", [64, 384, 1536]),
        ("gemm 1x1280x1000, cold weights", [1, 1280, 1000]),
    ];
    for (name, [rows, depth, columns]) in cases {
        let gemm = Gemm { rows, depth, columns, x_step: depth, y_step: columns };
        let x = numbers(rows * depth);
        let len = packed_len(depth, columns);
        let n_weights = COLD_BYTES / (4 * len);
        let w = numbers(n_weights * len);
        let mut state = (0, numbers(rows * columns));
        let prepare = |(next, _): &mut (usize, Buffer)| *next = (*next + 1) % n_weights;
        let call = |(next, y): &mut (usize, Buffer)| {
            gemm.run(&x, &w[*next * len..][..len], &[], NO_CLAMP, y, None);
        };
        bench.run(name, Work::Macs(rows * depth * columns), &mut state, prepare, call);
    }
}

fn rows(bench: &Bench) {
    for (rows, n) in [(6 * 257, 257), (12 * 64, 64)] {
        in_place(bench, &format!("softmax {rows}x{n}"), rows * n, |x| softmax_rows(x, n));
    }
    for (rows, n) in [(257, 384), (64, 384)] {
        let (x, gamma, beta) = (numbers(rows * n), numbers(n), numbers(n));
        let call = |y: &mut Buffer| layer_norm_rows(&x, y, n, Some(&gamma), Some(&beta), 1e-5);
        let (name, work) = (format!("layer norm {rows}x{n}"), Work::Bytes(8 * rows * n));
        bench.run(&name, work, &mut numbers(rows * n), |_| {}, call);
    }
}

/// Elements of a usual activation, which fit in a second-level cache.
const USUAL: usize = 14 * 14 * 480;

fn maps(bench: &Bench) {
    let cases = [
        ("relu6", Map::Clip { low: 0., high: 6. }),
        ("affine", Map::Affine { scale: 0.5, shift: 0.25 }),
        ("hard swish", Map::HardSwish),
        ("sigmoid", Map::Sigmoid),
        ("swish", Map::Swish { alpha: 1. }),
        ("exp", Map::Exp),
        ("tanh", Map::Tanh),
        ("erf", Map::Erf),
        ("gelu", Map::Gelu),
        ("gelu with tanh", Map::GeluTanh),
        ("sqrt", Map::Sqrt),
    ];
    for (name, function) in cases {
        in_place(bench, &format!("{name} of {USUAL}"), USUAL, |x| map(x, &function));
    }
    let b = numbers(USUAL);
    for (name, op) in [("add", Zip::Add), ("mul", Zip::Mul)] {
        let (mut y, from) = (numbers(USUAL), numbers(USUAL));
        let prepare = |y: &mut Buffer| y.copy_from_slice(&from);
        let call = |y: &mut Buffer| zip_in_place(op, y, Operand::Same(&b), Side::Right);
        bench.run(&format!("{name} of {USUAL}"), Work::Bytes(12 * USUAL), &mut y, prepare, call);
    }
}

fn quantization(bench: &Bench) {
    // The second is larger than a second-level cache.
    for len in [USUAL, 1 << 22] {
        let name = |function: &str| format!("{function} of {len}");
        in_place(bench, &name("fake quantize"), len, |x| fake_quantize(x, 0.01, 3, -128, 127));
        let (a, b) = (numbers(len), numbers(len + 1));
        let b = &b[1..];
        let sum = |y: &mut f64| *y = sum_squares(&a);
        bench.run(&name("sum of squares"), Work::Bytes(4 * len), &mut 0., |_| {}, sum);
        let sum = |y: &mut f64| *y = sum_squared_difference(&a, b);
        bench.run(&name("sum of squared difference"), Work::Bytes(8 * len), &mut 0., |_| {}, sum);
        let error = |y: &mut f64| *y = quantization_error(&a, 0.01, -128, 127, f64::INFINITY);
        bench.run(&name("quantization error"), Work::Bytes(4 * len), &mut 0., |_| {}, error);
    }
    let (channels, inner) = (320, 1152);
    let (scales, zeros) = (vec![0.01; channels], vec![0; channels]);
    let name = format!("fake quantize {channels}x{inner} by channel");
    in_place(bench, &name, channels * inner, |x| {
        fake_quantize_per_channel(x, inner, &scales, &zeros, -8, 7);
    });
}

fn layouts_and_pools(bench: &Bench) {
    for (channels, side) in [(3, 224), (96, 56), (480, 14), (1280, 7)] {
        let (plane, size) = (side * side, format!("{channels} at {side}"));
        let (plain, blocked) = (channels * plane, blocked_len(1, channels, plane));
        let work = Work::Bytes(8 * plain);
        let x = numbers(plain);
        let call = |y: &mut Buffer| to_blocked(&x, 1, channels, plane, y);
        bench.run(&format!("to blocked {size}"), work, &mut numbers(blocked), |_| {}, call);
        let x = numbers(blocked);
        let call = |y: &mut Buffer| to_plain(&x, 1, channels, plane, y);
        bench.run(&format!("to plain {size}"), work, &mut numbers(plain), |_| {}, call);
    }
    let n_planes = 4;
    let axes = [Axis::UNIT, axis(112, 3, 2, 1, 1), axis(112, 3, 2, 1, 1)];
    let (x, mut y) = (numbers(n_planes * 112 * 112 * LANES), numbers(n_planes * 56 * 56 * LANES));
    let call = |y: &mut Buffer| max_pool(&x, n_planes, &axes, y);
    let work = Work::Bytes(4 * (x.len() + y.len()));
    bench.run("max pool 3x3 s2 64 at 112", work, &mut y, |_| {}, call);
    let x = numbers(80 * 49 * LANES);
    let call = |y: &mut Buffer| global_average_pool(&x, 80, 49, y);
    let work = Work::Bytes(4 * x.len());
    bench.run("global average pool 1280 at 7", work, &mut numbers(80 * LANES), |_| {}, call);
}

/// A function of `len` numbers, each time of the same ones.
fn in_place(bench: &Bench, name: &str, len: usize, function: impl Fn(&mut [f32])) {
    let (mut y, from) = (numbers(len), numbers(len));
    let prepare = |y: &mut Buffer| y.copy_from_slice(&from);
    bench.run(name, Work::Bytes(8 * len), &mut y, prepare, |y| function(y));
}
