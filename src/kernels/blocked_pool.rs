//! Pools over the blocked layout: `x` is `[planes, D, H, W, 16]`, where `planes` is `N * blocks`.
//!
//! A window is reduced along depth and height first, into a row of columns, then along the width.

#![allow(unsafe_code)]

use super::dispatch::multiversion;

use super::Axis;
use super::simd::LANES;

multiversion! {
    /// The largest element of each window, at least `f32::MIN`, which a window of nothing but padding
    /// gives; a NaN in the window wins. `y` is `[planes, D', H', W', 16]`.
    ///
    /// # Panics
    /// If a length is not that of its shape.
    pub fn max_pool(x: &[f32], planes: usize, axes: &[Axis; 3], y: &mut [f32]) {
        let larger = |y: f32, x: f32| if x > y || x.is_nan() { x } else { y };
        pool(x, planes, axes, f32::MIN, |x| x, larger, |_, row, y| y.copy_from_slice(row), y);
    }
}

multiversion! {
    /// The mean of each window, summed in f64. Padding counts if `count_include_pad`, what lies
    /// beyond it never; where nothing counts the mean is 0. NaN and infinities propagate. `y` is
    /// `[planes, D', H', W', 16]`.
    ///
    /// # Panics
    /// If a length is not that of its shape.
    pub fn average_pool(
        x: &[f32],
        planes: usize,
        axes: &[Axis; 3],
        count_include_pad: bool,
        y: &mut [f32],
    ) {
        let [a, b, c] = axes.map(|axis| counts(&axis, count_include_pad));
        let finish = |[i, j]: [usize; 2], sums: &[[f64; LANES]], y: &mut [[f32; LANES]]| {
            for ((y, sum), c) in y.iter_mut().zip(sums).zip(&c) {
                // Without any the sum is 0.
                let n = (a[i] * b[j] * c).max(1) as f64;
                y.iter_mut().zip(sum).for_each(|(y, sum)| *y = (sum / n) as f32);
            }
        };
        pool(x, planes, axes, 0., f64::from, |sum, x| sum + x, finish, y);
    }
}

/// How many taps of each output count along one axis.
fn counts(axis: &Axis, count_include_pad: bool) -> Vec<usize> {
    let end = axis.input + axis.pads.iter().sum::<usize>();
    let counts = |o: usize, k: usize| match count_include_pad {
        true => o * axis.stride + k * axis.dilation < end,
        false => axis.source(o, k).is_some(),
    };
    (0..axis.output).map(|o| (0..axis.kernel).filter(|&k| counts(o, k)).count()).collect()
}

multiversion! {
    /// The mean of each plane of `plane` positions, summed in f64: every fourth position in turn, the
    /// four sums then in pairs. NaN and infinities propagate. `y` is `[planes, 1, 16]`.
    ///
    /// # Panics
    /// If a length is not that of its shape, or the plane is empty.
    pub fn global_average_pool(x: &[f32], planes: usize, plane: usize, y: &mut [f32]) {
        assert_eq!(x.len(), planes * plane * LANES, "`x` has the shape");
        assert_eq!(y.len(), planes * LANES, "`y` has the shape");
        let planes = x.as_chunks::<LANES>().0.chunks_exact(plane);
        for (x, y) in planes.zip(y.as_chunks_mut::<LANES>().0) {
            let mut sums = [[0.; LANES]; 4];
            let (quads, rest) = x.as_chunks::<4>();
            for quad in quads {
                for (sum, x) in sums.iter_mut().zip(quad) {
                    sum.iter_mut().zip(x).for_each(|(sum, &x)| *sum += f64::from(x));
                }
            }
            for (sum, x) in sums.iter_mut().zip(rest) {
                sum.iter_mut().zip(x).for_each(|(sum, &x)| *sum += f64::from(x));
            }
            let [a, b, c, d] = sums;
            for (i, y) in y.iter_mut().enumerate() {
                *y = (((a[i] + c[i]) + (b[i] + d[i])) / plane as f64) as f32;
            }
        }
    }
}

/// The first input element that an output's window reads, and how many it reads.
fn reach(axis: &Axis, o: usize) -> (usize, usize) {
    let sources: Vec<usize> = (0..axis.kernel).filter_map(|k| axis.source(o, k)).collect();
    (sources.first().copied().unwrap_or(0), sources.len())
}

/// Folds every window with `add` from `start` on; `finish` makes a row of `y` from the results and
/// the row's place along depth and height.
#[allow(clippy::too_many_arguments)]
#[inline(always)]
fn pool<A: Copy>(
    x: &[f32],
    planes: usize,
    axes: &[Axis; 3],
    start: A,
    lift: impl Fn(f32) -> A,
    add: impl Fn(A, A) -> A,
    finish: impl Fn([usize; 2], &[[A; LANES]], &mut [[f32; LANES]]),
    y: &mut [f32],
) {
    let [a, b, c] = axes;
    let input = a.input * b.input * c.input;
    assert_eq!(x.len(), planes * input * LANES, "`x` has the shape");
    assert_eq!(y.len(), planes * a.output * b.output * c.output * LANES, "`y` has the shape");
    if y.is_empty() {
        return;
    }
    let (x, y) = (x.as_chunks::<LANES>().0, y.as_chunks_mut::<LANES>().0);
    let reaches: Vec<_> = (0..c.output).map(|o| reach(c, o)).collect();
    let mut columns = vec![[start; LANES]; c.input];
    let mut row = vec![[start; LANES]; c.output];
    for (o, y) in y.chunks_exact_mut(c.output).enumerate() {
        let (o, ob) = (o / b.output, o % b.output);
        let (plane, oa) = (o / a.output, o % a.output);
        columns.as_flattened_mut().fill(start);
        for (ka, kb) in (0..a.kernel).flat_map(|i| (0..b.kernel).map(move |j| (i, j))) {
            let Some((i, j)) = a.source(oa, ka).zip(b.source(ob, kb)) else { continue };
            let x = &x[plane * input + (i * b.input + j) * c.input..][..c.input];
            for (y, x) in columns.as_flattened_mut().iter_mut().zip(x.as_flattened()) {
                *y = add(*y, lift(*x));
            }
        }
        for (row, (first, n)) in row.iter_mut().zip(&reaches) {
            let mut total = [start; LANES];
            for column in columns[*first..].iter().step_by(c.dilation).take(*n) {
                total = std::array::from_fn(|i| add(total[i], column[i]));
            }
            *row = total;
        }
        finish([oa, ob], &row, y);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::dispatch::at_each_level;

    const PLANES: usize = 3;

    fn wave(n: usize) -> Vec<f32> {
        (0..n).map(|i| (i as f32 * 0.7).sin() * 1e3).collect()
    }

    fn axis(input: usize, kernel: usize, stride: usize, dilation: usize, pads: [usize; 2]) -> Axis {
        let output = (input + pads[0] + pads[1] - (kernel - 1) * dilation - 1) / stride + 1;
        Axis { input, output, kernel, stride, dilation, pads }
    }

    fn geometries() -> Vec<[Axis; 3]> {
        let mut odd = axis(9, 3, 2, 1, [1, 1]);
        // As `ceil_mode` has it: the last window sticks out of the padding.
        odd.output += 1;
        vec![
            [Axis::UNIT, axis(7, 3, 2, 1, [1, 1]), axis(9, 3, 2, 1, [1, 1])],
            [Axis::UNIT, axis(5, 2, 2, 1, [0, 0]), axis(6, 2, 2, 1, [0, 0])],
            [Axis::UNIT, axis(7, 5, 1, 1, [2, 2]), axis(6, 3, 1, 2, [2, 2])],
            [axis(3, 2, 1, 1, [1, 0]), axis(4, 3, 1, 1, [1, 1]), axis(5, 2, 3, 1, [0, 1])],
            [Axis::UNIT, axis(1, 1, 1, 1, [2, 2]), odd],
            [Axis::UNIT, axis(0, 1, 1, 1, [1, 1]), axis(4, 1, 1, 1, [0, 0])],
        ]
    }

    /// The elements of each window, one output at a time, and how many taps count.
    fn windows(x: &[f32], axes: &[Axis; 3], include_pad: bool) -> Vec<(Vec<f32>, usize)> {
        let [a, b, c] = axes;
        let outputs = a.output * b.output * c.output;
        let window = |o: usize| {
            let (lane, o) = (o % LANES, o / LANES);
            let (plane, o) = (o / outputs, o % outputs);
            let at = [o / c.output / b.output, o / c.output % b.output, o % c.output];
            let (mut elements, mut n) = (Vec::new(), 0);
            for k in 0..a.kernel * b.kernel * c.kernel {
                let k = [k / c.kernel / b.kernel, k / c.kernel % b.kernel, k % c.kernel];
                let sources = [0, 1, 2].map(|i| axes[i].source(at[i], k[i]));
                if let [Some(i), Some(j), Some(k)] = sources {
                    let place = ((plane * a.input + i) * b.input + j) * c.input + k;
                    elements.push(x[place * LANES + lane]);
                }
                let is_padded = |i: usize| {
                    let end = axes[i].input + axes[i].pads[0] + axes[i].pads[1];
                    at[i] * axes[i].stride + k[i] * axes[i].dilation < end
                };
                n += usize::from([0, 1, 2].into_iter().all(is_padded));
            }
            let n = if include_pad { n } else { elements.len() };
            (elements, n)
        };
        (0..PLANES * outputs * LANES).map(window).collect()
    }

    fn bits(x: &[f32]) -> Vec<u32> {
        x.iter().map(|x| x.to_bits()).collect()
    }

    #[test]
    fn max_at_each_level() {
        for axes in geometries() {
            let mut x =
                wave(PLANES * LANES * axes.iter().map(|axis| axis.input).product::<usize>());
            x.iter_mut().skip(5).step_by(23).for_each(|x| *x = f32::NAN);
            let max = |window: &[f32]| {
                window.iter().fold(f32::MIN, |y, &x| if x > y || x.is_nan() { x } else { y })
            };
            let expected: Vec<f32> =
                windows(&x, &axes, false).iter().map(|(window, _)| max(window)).collect();
            for (level, y) in at_each_level(|| {
                let mut y = vec![7.; expected.len()];
                max_pool(&x, PLANES, &axes, &mut y);
                y
            }) {
                assert_eq!(bits(&y), bits(&expected), "{level:?}, {axes:?}");
            }
        }
    }

    #[test]
    fn average_at_each_level() {
        for (axes, include_pad) in geometries().into_iter().flat_map(|g| [(g, false), (g, true)]) {
            let x = wave(PLANES * LANES * axes.iter().map(|axis| axis.input).product::<usize>());
            let windows = windows(&x, &axes, include_pad);
            let found = at_each_level(|| {
                let mut y = vec![7.; windows.len()];
                average_pool(&x, PLANES, &axes, include_pad, &mut y);
                y
            });
            for (level, y) in &found {
                assert_eq!(bits(y), bits(&found[0].1), "{level:?}, {axes:?}");
            }
            for (y, (window, n)) in found[0].1.iter().zip(&windows) {
                let sum: f64 = window.iter().map(|&x| f64::from(x)).sum();
                let mean = sum / (*n).max(1) as f64;
                // The rounding of the result, and of sums of thousands in f64.
                let tolerance = mean.abs() * 6e-8 + 1e-11;
                assert!((f64::from(*y) - mean).abs() <= tolerance, "{y} for {mean}, {axes:?}");
            }
        }
    }

    #[test]
    fn global_average_at_each_level() {
        for plane in [1, 3, 4, 49, 50] {
            let x = wave(PLANES * plane * LANES);
            let found = at_each_level(|| {
                let mut y = vec![7.; PLANES * LANES];
                global_average_pool(&x, PLANES, plane, &mut y);
                y
            });
            for (level, y) in &found {
                assert_eq!(bits(y), bits(&found[0].1), "{level:?}, plane {plane}");
            }
            for (i, y) in found[0].1.iter().enumerate() {
                let x = x[i / LANES * plane * LANES + i % LANES..].iter().step_by(LANES);
                let mean = x.take(plane).map(|&x| f64::from(x)).sum::<f64>() / plane as f64;
                assert!((f64::from(*y) - mean).abs() <= mean.abs() * 6e-8 + 1e-11, "{y}, {mean}");
            }
        }
        let mut y = [0.; LANES];
        global_average_pool(&[f32::NAN; LANES], 1, 1, &mut y);
        assert!(y.iter().all(|y| y.is_nan()));
    }
}
