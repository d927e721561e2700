//! Quantize-dequantize at every width against the formula in f64.
//!
//! `x / scale` is a float32 division, as it is in ONNX QuantizeLinear; everything after it is exact
//! in f64. The division rounds, which shows only where the quotient lands on a tie that the real
//! quotient misses by less than half an ulp: there, and nowhere else, the formula with a real
//! division gives the neighboring step.

use mpq::quant::{Bits, Encoding, Scheme};
use mpq::tensor::Tensor;

const SCHEMES: [Scheme; 4] = [
    Scheme::UNSIGNED,
    Scheme::SYMMETRIC,
    Scheme { narrow: true, ..Scheme::SYMMETRIC },
    Scheme { signed: true, ..Scheme::UNSIGNED },
];
const SCALES: [f32; 7] = [1., 0.25, 0.1, 1. / 3., 0.018_659, 7e-4, 3e9];

/// One grid: a width, a scheme, a scale and a zero point.
struct Case {
    encoding: Encoding,
    scale: f32,
    zero_point: f64,
    q_min: f64,
    q_max: f64,
}

impl Case {
    fn new(bits: u8, scheme: Scheme, scale: f32, zero_point: i32) -> Case {
        let bits = Bits::new(bits).unwrap();
        let (scales, zero_points) = (vec![scale], vec![zero_point]);
        let encoding = Encoding { bits, scheme, axis: None, scales, zero_points };
        let levels = f64::from(bits.get()).exp2();
        let q_min = match (scheme.signed, scheme.narrow) {
            (false, _) => 0.,
            (true, false) => -levels / 2.,
            (true, true) => 1. - levels / 2.,
        };
        let q_max = if scheme.signed { levels / 2. - 1. } else { levels - 1. };
        Case { encoding, scale, zero_point: zero_point.into(), q_min, q_max }
    }

    /// Every width and scheme with every scale; zero points at the ends and inside.
    fn all() -> Vec<Case> {
        let mut cases = Vec::new();
        for bits in 2..=16 {
            for scheme in SCHEMES {
                for (index, scale) in SCALES.into_iter().enumerate() {
                    let (levels, signed) = (1 << bits, scheme.signed);
                    let low = if signed { -levels / 2 } else { 0 };
                    let zero_point = match index % 3 {
                        _ if scheme.symmetric => 0,
                        0 => low,
                        1 => low + levels / 3,
                        _ => low + levels - 1,
                    };
                    cases.push(Case::new(bits, scheme, scale, zero_point));
                }
            }
        }
        cases
    }

    fn expected(&self, quotient: f64) -> f32 {
        let q = (quotient.round_ties_even() + self.zero_point).clamp(self.q_min, self.q_max);
        ((q - self.zero_point) * f64::from(self.scale)) as f32
    }

    fn found(&self, x: &[f32]) -> Vec<f32> {
        let mut tensor = Tensor::from_vec(&[x.len()], x.to_vec());
        self.encoding.fake_quantize(&mut tensor);
        tensor.slice::<f32>().to_vec()
    }

    /// Every tie and step of the grid, a few past both ends, each with its two neighbors; the ends
    /// of what f32 has; numbers of any size.
    fn values(&self) -> Vec<f32> {
        let (low, high) = (self.q_min - self.zero_point, self.q_max - self.zero_point);
        let halves = (2. * low) as i64 - 9..=(2. * high) as i64 + 9;
        let grid = halves.map(|half| (half as f64 / 2. * f64::from(self.scale)) as f32);
        let mut values: Vec<f32> = grid.flat_map(|x| [x.next_down(), x, x.next_up()]).collect();
        values.extend([f32::MAX, f32::MIN, f32::INFINITY, f32::NEG_INFINITY, 0., -0.]);
        values.extend([f32::MIN_POSITIVE, -f32::MIN_POSITIVE, 1e-45, -1e-45, 1e-39]);
        let mut state = 1_u32;
        let scattered = std::iter::repeat_with(|| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            f32::from_bits(state)
        });
        values.extend(scattered.take(2000).filter(|x| !x.is_nan()));
        values
    }
}

#[test]
fn every_width_equals_the_formula_to_the_last_bit() {
    for case in Case::all() {
        let x = case.values();
        for (&x, found) in x.iter().zip(case.found(&x)) {
            let expected = case.expected(f64::from(x / case.scale));
            let same = found.to_bits() == expected.to_bits();
            assert!(same, "{x:?} is {found:?}, expected {expected:?}: {:?}", case.encoding);
        }
    }
}

#[test]
fn the_real_quotient_differs_at_ties_of_the_division_alone() {
    for case in Case::all() {
        let x = case.values();
        for (&x, found) in x.iter().zip(case.found(&x)) {
            let real = f64::from(x) / f64::from(case.scale);
            let rounded = x / case.scale;
            let became_tie = rounded.fract().abs() == 0.5 && f64::from(rounded) != real;
            let same = found == case.expected(real);
            assert!(
                same || became_tie,
                "{x:?} is {found:?}, x / scale {real}: {:?}",
                case.encoding
            );
        }
    }
}

#[test]
fn hand_worked() {
    let far = f32::MAX;
    for (bits, scheme, scale, zero_point, x, expected) in [
        (2, Scheme::UNSIGNED, 1., 1, [-9., -0.5, 0.5, 1.5, 2.5], [-1., 0., 0., 2., 2.]),
        (2, Scheme::SYMMETRIC, 1., 0, [-9., -1.5, -0.5, 0.5, 9.], [-2., -2., 0., 0., 1.]),
        (3, SCHEMES[2], 1., 0, [-9., -3.5, -2.5, 2.5, 9.], [-3., -3., -2., 2., 3.]),
        (
            8,
            Scheme::UNSIGNED,
            0.5,
            255,
            [-far, -127.25, -0.25, 0.25, far],
            [-127.5, -127., 0., 0., 0.],
        ),
        (8, SCHEMES[3], 0.5, -128, [-1., 0.75, 1.25, 127.25, far], [0., 1., 1., 127., 127.5]),
        (
            16,
            Scheme::UNSIGNED,
            1.,
            0,
            [-1., 0.5, 65533.5, 65534.5, far],
            [0., 0., 65534., 65534., 65535.],
        ),
        (
            16,
            Scheme::SYMMETRIC,
            2.,
            0,
            [-far, -65535., 1., 3., far],
            [-65536., -65536., 0., 4., 65534.],
        ),
    ] {
        let case = Case::new(bits, scheme, scale, zero_point);
        assert_eq!(case.found(&x), expected, "{:?}", case.encoding);
    }
}
