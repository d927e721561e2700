//! Resizing over the blocked layout: nearest and linear, from at most two taps per axis.

use super::simd::{Kernel, LANES, Simd, run};

/// The two input positions that make each output position of an axis, and their weights.
///
/// A second weight of 0 means that the second position is not looked at; nearest is `[1, 0]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Taps {
    pub index: Vec<[usize; 2]>,
    pub weight: Vec<[f32; 2]>,
}

impl Taps {
    #[inline(always)]
    fn iter(&self) -> impl Iterator<Item = ([usize; 2], [f32; 2])> {
        self.index.iter().copied().zip(self.weight.iter().copied())
    }
}

/// `[planes, H, W, 16]` becomes `[planes, rows, columns, 16]`: `w[0] * x[i] + w[1] * x[j]`, each
/// product and sum rounded to f32, along the height, then along the width. NaN and infinities
/// propagate from the positions that have a weight. A volume resizes its depth by itself, as
/// `[planes, D, H * W, 16]`.
///
/// # Panics
/// If a length is not that of its shape, or a tap lies outside.
pub fn resize(
    x: &[f32],
    planes: usize,
    input: [usize; 2],
    rows: &Taps,
    columns: &Taps,
    y: &mut [f32],
) {
    let [height, width] = input;
    let output = [rows.index.len(), columns.index.len()];
    assert_eq!(output, [rows.weight.len(), columns.weight.len()], "weights for each position");
    assert_eq!(x.len(), planes * height * width * LANES, "`x` has the shape");
    assert_eq!(y.len(), planes * output[0] * output[1] * LANES, "`y` has the shape");
    if !y.is_empty() {
        run(Resize { x: x.as_chunks().0, input, rows, columns, y: y.as_chunks_mut().0 });
    }
}

struct Resize<'a> {
    x: &'a [[f32; LANES]],
    input: [usize; 2],
    rows: &'a Taps,
    columns: &'a Taps,
    y: &'a mut [[f32; LANES]],
}

impl Kernel for Resize<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Resize { x, input: [height, width], rows, columns, y } = self;
        let mut blend = vec![[0.; LANES]; width];
        let output = [rows.index.len(), columns.index.len()];
        for (plane, y) in y.chunks_exact_mut(output[0] * output[1]).enumerate() {
            let x = &x[plane * height * width..][..height * width];
            for (y, ([i, j], weight)) in y.chunks_exact_mut(output[1]).zip(rows.iter()) {
                let mut row = &x[i * width..][..width];
                if weight != [1., 0.] {
                    let other = if weight[1] == 0. { row } else { &x[j * width..][..width] };
                    for ((y, a), b) in blend.iter_mut().zip(row).zip(other) {
                        mix(s, a, b, weight, y);
                    }
                    row = &blend;
                }
                for (y, ([i, j], weight)) in y.iter_mut().zip(columns.iter()) {
                    let other = if weight[1] == 0. { i } else { j };
                    mix(s, &row[i], &row[other], weight, y);
                }
            }
        }
    }
}

#[inline(always)]
fn mix<S: Simd>(s: S, a: &[f32; LANES], b: &[f32; LANES], [w, v]: [f32; 2], y: &mut [f32; LANES]) {
    let mut sum = s.load(a);
    if w != 1. {
        sum = s.mul(s.splat(w), sum);
    }
    if v != 0. {
        sum = s.add(sum, s.mul(s.splat(v), s.load(b)));
    }
    s.store(y, sum);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::dispatch::at_each_level;

    fn linear(input: usize, output: usize) -> Taps {
        let scale = (input - 1) as f32 / (output.max(2) - 1) as f32;
        let tap = |o: usize| (o as f32 * scale, (o as f32 * scale) as usize);
        let index = |o| [tap(o).1, (tap(o).1 + 1).min(input - 1)];
        let weight = |o| [1. - tap(o).0.fract(), tap(o).0.fract()];
        Taps { index: (0..output).map(index).collect(), weight: (0..output).map(weight).collect() }
    }

    fn nearest(input: usize, output: usize) -> Taps {
        let index = (0..output).map(|o| [o * input / output, 0]).collect();
        Taps { index, weight: vec![[1., 0.]; output] }
    }

    /// One axis after the other, one element at a time.
    fn plain(x: &[f32], outer: usize, input: usize, inner: usize, taps: &Taps) -> Vec<f32> {
        let outputs = taps.index.len();
        let element = |o: usize| {
            let (i, at) = (o % inner, o / inner % outputs);
            let x = |k: usize| x[(o / inner / outputs * input + taps.index[at][k]) * inner + i];
            let [w, v] = taps.weight[at];
            if v == 0. { w * x(0) } else { w * x(0) + v * x(1) }
        };
        (0..outer * outputs * inner).map(element).collect()
    }

    #[test]
    fn equals_the_plain_form_to_the_last_bit_at_each_level() {
        const PLANES: usize = 3;
        type Make = fn(usize, usize) -> Taps;
        for make in [linear as Make, nearest] {
            for [height, width, rows, columns] in
                [[3, 5, 9, 17], [7, 4, 3, 4], [1, 1, 4, 5], [5, 6, 5, 1], [2, 2, 0, 3]]
            {
                let mut x: Vec<f32> =
                    (0..PLANES * height * width * LANES).map(|i| (i as f32).sin()).collect();
                x[7] = f32::INFINITY;
                let taps = [make(height, rows), make(width, columns)];
                let tall = plain(&x, PLANES, height, width * LANES, &taps[0]);
                let expected = plain(&tall, PLANES * rows, width, LANES, &taps[1]);
                let bits = |x: &[f32]| x.iter().map(|x| x.to_bits()).collect::<Vec<u32>>();
                for (level, y) in at_each_level(|| {
                    let mut y = vec![7.; expected.len()];
                    resize(&x, PLANES, [height, width], &taps[0], &taps[1], &mut y);
                    y
                }) {
                    assert_eq!(bits(&y), bits(&expected), "{level:?}, {height} x {width}");
                }
            }
        }
    }

    /// A position without a weight may hold anything.
    #[test]
    fn infinity_does_not_spread_through_a_weight_of_zero() {
        let x = [[1.; LANES], [f32::INFINITY; LANES]].concat();
        let taps = Taps { index: vec![[0, 1], [0, 1]], weight: vec![[1., 0.], [0.5, 0.]] };
        let one = Taps { index: vec![[0, 0]], weight: vec![[1., 0.]] };
        let mut y = vec![0.; 2 * LANES];
        resize(&x, 1, [1, 2], &one, &taps, &mut y);
        assert_eq!(y, [[1.; LANES], [0.5; LANES]].concat());
        resize(&x, 1, [2, 1], &taps, &one, &mut y);
        assert_eq!(y, [[1.; LANES], [0.5; LANES]].concat());
    }
}
