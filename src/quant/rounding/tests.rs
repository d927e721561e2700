use super::gram::{Gram, Rows};
use super::*;

/// Numbers between -1 and 1 that look random.
fn noise(seed: u64) -> impl Iterator<Item = f64> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    std::iter::repeat_with(move || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f64 / f64::from(1 << 23) - 1.
    })
}

/// Of inputs that have much in common.
fn gram(depth: usize, seed: u64) -> Gram {
    let mut noise = noise(seed);
    let n = 4 * depth;
    let mut sum = vec![0.; depth * depth];
    for _ in 0..n {
        let shared = noise.next().unwrap();
        let x: Vec<f64> = noise.by_ref().take(depth).map(|x| 0.6 * x + shared).collect();
        for (at, sum) in sum.iter_mut().enumerate() {
            *sum += x[at / depth] * x[at % depth];
        }
    }
    Gram::new(depth, sum, n as u64)
}

fn weights(n: usize, seed: u64, reach: f64) -> Vec<f32> {
    noise(seed).take(n).map(|w| (reach * w) as f32).collect()
}

fn least_loss(rows: &Rows<'_>, row: usize) -> f64 {
    let weights = &rows.weights[row * rows.depth()..][..rows.depth()];
    let choices = (0_u32..1 << rows.depth()).map(|choice| {
        let step = |(k, w): (usize, &f32)| rows.clamp(w.floor() + (choice >> k & 1) as f32);
        rows.loss(row, &weights.iter().enumerate().map(step).collect::<Vec<_>>())
    });
    choices.fold(f64::INFINITY, f64::min)
}

#[test]
fn small_layers_reach_the_optimum() {
    let mut excess = Vec::new();
    for seed in 1..9 {
        let (gram, weights) = (gram(8, seed), weights(4 * 8, seed + 100, 9.));
        let rows = Rows { gram: &gram, weights: &weights, scales: &[0.3; 4], limits: [-8., 7.] };
        let steps = adaround::round(&rows, &Effort { iterations: 500 });
        excess.extend((0..4).map(|row| {
            let (found, least) = (rows.loss(row, &steps[row * 8..][..8]), least_loss(&rows, row));
            assert!(least <= found * (1. + 1e-9), "{found} {least}");
            found / least - 1.
        }));
    }
    excess.sort_by(f64::total_cmp);
    assert!(excess[29] < 1e-9 && excess[31] < 0.5, "{excess:?}");
}

#[test]
fn rounding_is_up_or_down_and_never_worse_than_to_nearest() {
    let (depth, n_rows) = (27, 10);
    let gram = gram(depth, 5);
    let weights = weights(n_rows * depth, 6, 8.5);
    let scales: Vec<f32> = (0..n_rows).map(|row| 0.02 + 0.05 * row as f32).collect();
    let rows = Rows { gram: &gram, weights: &weights, scales: &scales, limits: [-8., 7.] };
    let steps = adaround::round(&rows, &Effort { iterations: 500 });
    for (&w, &step) in weights.iter().zip(&steps) {
        assert!(step == rows.clamp(w.floor()) || step == rows.clamp(w.ceil()), "{w} to {step}");
    }
    let nearest = rows.nearest();
    let mut sums = [0., 0.];
    for row in 0..n_rows {
        let of_row = row * depth..(row + 1) * depth;
        let [found, nearest] =
            [&steps, &nearest].map(|steps| rows.loss(row, &steps[of_row.clone()]));
        assert!(found <= nearest, "{found} {nearest}");
        sums[0] += found;
        sums[1] += nearest;
    }
    assert!(sums[0] < 0.25 * sums[1], "{sums:?}");
    // A row does not depend on those that it is fitted with.
    let alone = Rows { weights: &weights[3 * depth..4 * depth], scales: &scales[3..4], ..rows };
    let alone = adaround::round(&alone, &Effort { iterations: 500 });
    assert_eq!(alone, steps[3 * depth..4 * depth]);
}

#[test]
fn what_no_input_reaches_is_rounded_to_nearest() {
    let gram = Gram::new(3, vec![0.; 9], 7);
    let weights = [0.4, 1.6, -0.4];
    let rows = Rows { gram: &gram, weights: &weights, scales: &[1.], limits: [-2., 1.] };
    for rounding in Rounding::all().filter(|rounding| !rounding.is_nearest()) {
        let round = rounding.0.round.unwrap();
        assert_eq!(round(&rows, &Effort { iterations: 300 }), [0., 1., 0.], "{rounding}");
    }
}

/// Two columns by hand: the first is rounded from 0.4 to 0, and the second takes its error over.
#[test]
fn gptq_makes_up_for_errors() {
    let gram = Gram::new(2, vec![1., 1., 1., 1.], 1);
    let weights = [0.4, 0.3];
    let rows = Rows { gram: &gram, weights: &weights, scales: &[1.], limits: [-8., 7.] };
    assert_eq!(gptq::round(&rows, &Effort::DEFAULT), [0., 1.]);
    // With inputs that have nothing in common it is rounding to nearest.
    let gram = Gram::new(2, vec![1., 0., 0., 1.], 1);
    assert_eq!(gptq::round(&Rows { gram: &gram, ..rows }, &Effort::DEFAULT), [0., 0.]);
}

/// `U^T U` times the damped matrix is the unit matrix.
#[test]
fn the_factor_is_that_of_the_inverse() {
    let gram = gram(6, 3);
    let factor = gptq::factor(&gram);
    let u = |i: usize, j: usize| if j < i { 0. } else { factor[i][j - i] };
    let inverse = |i: usize, j: usize| (0..6).map(|k| u(k, i) * u(k, j)).sum::<f64>();
    let damping = 0.01 * (0..6).map(|k| gram.row(k)[k]).sum::<f64>() / 6.;
    for i in 0..6 {
        for j in 0..6 {
            let h = |k: usize| gram.row(k)[j] + if k == j { damping } else { 0. };
            let unit = (0..6).map(|k| inverse(i, k) * h(k)).sum::<f64>();
            assert!((unit - f64::from(i == j)).abs() < 1e-9, "{i} {j}: {unit}");
        }
    }
}

#[test]
fn names() {
    assert_eq!("adaround".parse::<Rounding>().unwrap().name(), "adaround");
    let message = "up".parse::<Rounding>().unwrap_err().to_string();
    assert_eq!(message, "rounding is `up`, expected `nearest`, `adaround`, `gptq`");
}
