//! Interpolation along one axis at a time: which input elements make an output element.

use crate::kernels::ResizeTaps;
use crate::ops::number::Number;

/// How an index of the output becomes a coordinate in the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Coordinates {
    HalfPixel,
    HalfPixelSymmetric,
    PytorchHalfPixel,
    TfHalfPixelForNn,
    AlignCorners,
    Asymmetric,
    TfCropAndResize,
}

/// How a coordinate between two elements chooses one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Nearest {
    RoundPreferFloor,
    RoundPreferCeil,
    Floor,
    Ceil,
    /// Opset 10 and `Upsample`: up when the axis shrinks, else down.
    FloorUnlessShrinking,
}

/// What is computed from the neighbors.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Mode {
    Nearest(Nearest),
    /// A triangle over two elements.
    Linear,
    /// Keys' cubic over four elements.
    Cubic {
        a: f32,
    },
}

/// Everything about one axis.
#[derive(Debug, Clone, Copy)]
pub(super) struct Line {
    pub(super) input: usize,
    pub(super) output: usize,
    pub(super) scale: f32,
    /// The part of the input that is resized, for `TfCropAndResize`; 0 to 1 is all of it.
    pub(super) region: [f32; 2],
}

impl Line {
    /// In f32 and in onnxruntime's order of operations: at a tie the last bit decides.
    pub(super) fn coordinate(&self, coordinates: Coordinates, o: usize) -> f32 {
        let (x, scale) = (o as f32, self.scale);
        let (input, output) = (self.input as f32, self.output as f32);
        match coordinates {
            Coordinates::HalfPixel => (x + 0.5) / scale - 0.5,
            Coordinates::HalfPixelSymmetric => {
                let adjustment = output / (scale * input);
                let center = input / 2.;
                let offset = f64::from(center * (1. - adjustment));
                (offset + (f64::from(x) + 0.5) / f64::from(scale) - 0.5) as f32
            }
            Coordinates::PytorchHalfPixel if self.output <= 1 => 0.,
            Coordinates::PytorchHalfPixel => (x + 0.5) / scale - 0.5,
            Coordinates::TfHalfPixelForNn => (x + 0.5) / scale,
            Coordinates::AlignCorners if self.output <= 1 => 0.,
            // The length that the scale asks for, a fraction where it was rounded: so have it the
            // ONNX project's tests, though not onnxruntime.
            Coordinates::AlignCorners => x * (input - 1.) / (scale * input - 1.),
            Coordinates::Asymmetric => x / scale,
            Coordinates::TfCropAndResize => {
                let [start, end] = self.region;
                if self.output <= 1 {
                    return 0.5 * (start + end) * (input - 1.);
                }
                start * (input - 1.) + x * (end - start) * (input - 1.) / (output - 1.)
            }
        }
    }

    /// The coordinates that lie outside the input.
    pub(super) fn outside(&self, coordinates: Coordinates) -> Vec<bool> {
        let last = self.input as f32 - 1.;
        let is_outside = |x: f32| !(0. ..=last).contains(&x);
        (0..self.output).map(|o| is_outside(self.coordinate(coordinates, o))).collect()
    }

    fn nearest(&self, nearest: Nearest, x: f32) -> usize {
        // onnxruntime takes a tie within 1e-6 for one: what is just beside came from rounding.
        let is_tie = (x - (x.floor() + 0.5)).abs() <= 1e-6;
        let x = match nearest {
            Nearest::RoundPreferFloor if is_tie => x.floor(),
            Nearest::RoundPreferCeil if is_tie => x.ceil(),
            Nearest::RoundPreferFloor | Nearest::RoundPreferCeil => x.round(),
            Nearest::Floor => x.floor(),
            Nearest::FloorUnlessShrinking if 1. <= self.scale => x.floor(),
            Nearest::Ceil | Nearest::FloorUnlessShrinking => x.ceil(),
        };
        // A cast saturates: what is negative becomes 0.
        (x as usize).min(self.input - 1)
    }
}

/// For every output element its input elements and their weights.
#[derive(Debug, PartialEq)]
pub(super) struct Taps {
    taps: Vec<(usize, f64)>,
    /// Where each output's taps end.
    ends: Vec<usize>,
}

/// What bends the weights of [`Mode::Linear`] and [`Mode::Cubic`].
#[derive(Debug, Clone, Copy)]
pub(super) struct Filter {
    /// Stretches the filter over all elements that an output covers when an axis shrinks.
    pub(super) antialias: bool,
    /// Taps outside the input have no weight; otherwise the edge element stands there.
    pub(super) exclude_outside: bool,
}

impl Taps {
    pub(super) fn new(line: &Line, coordinates: Coordinates, mode: Mode, filter: Filter) -> Taps {
        let mut taps = Taps { taps: Vec::new(), ends: Vec::with_capacity(line.output) };
        // What is not resized stays, whatever the formula says: one of them shifts by half an element.
        let is_cropped = coordinates == Coordinates::TfCropAndResize;
        if line.input == line.output && line.scale == 1. && !is_cropped {
            taps.taps = (0..line.input).map(|i| (i, 1.)).collect();
            taps.ends = (1..=line.input).collect();
            return taps;
        }
        for o in 0..line.output {
            let x = line.coordinate(coordinates, o);
            match mode {
                Mode::Nearest(nearest) => taps.taps.push((line.nearest(nearest, x), 1.)),
                Mode::Linear => taps.push_filtered(line, x, filter, 1., |t| (1. - t).max(0.)),
                Mode::Cubic { a } => {
                    taps.push_filtered(line, x, filter, 2., |t| cubic(f64::from(a), t));
                }
            }
            taps.ends.push(taps.taps.len());
        }
        taps
    }

    /// Taps around `x`, weighted by a `kernel` of the distance that reaches `support` elements.
    fn push_filtered(
        &mut self,
        line: &Line,
        x: f32,
        filter: Filter,
        support: f64,
        kernel: impl Fn(f64) -> f64,
    ) {
        let x = f64::from(x);
        let stretch = if filter.antialias { f64::from(line.scale).min(1.) } else { 1. };
        let last = line.input as i64 - 1;
        let reach = support / stretch;
        let range = (x - reach).floor() as i64 + 1..=(x + reach).floor() as i64;
        let is_inside = |&i: &i64| !filter.exclude_outside || (0..=last).contains(&i);
        let weighted =
            range.filter(is_inside).map(|i| (i, kernel(((i as f64 - x) * stretch).abs())));
        let weighted: Vec<(i64, f64)> = weighted.filter(|&(_, weight)| weight != 0.).collect();
        let sum: f64 = weighted.iter().map(|(_, weight)| weight).sum();
        let start = self.taps.len();
        for (i, weight) in weighted {
            let (i, weight) = (i.clamp(0, last) as usize, weight / sum);
            match self.taps[start..].last_mut() {
                Some((same, total)) if *same == i => *total += weight,
                _ => self.taps.push((i, weight)),
            }
        }
    }

    /// Whether every output is the input at the same place.
    pub(super) fn is_identity(&self, input: usize) -> bool {
        self.ends.len() == input && self.taps.iter().copied().eq((0..input).map(|i| (i, 1.)))
    }

    /// The taps where there are at most two of each output; `None` where there are more.
    pub(super) fn pairs(&self) -> Option<ResizeTaps> {
        let pair = |taps: &[(usize, f64)]| match *taps {
            [(i, weight)] => Some(([i, i], [weight as f32, 0.])),
            [(i, a), (j, b)] => Some(([i, j], [a as f32, b as f32])),
            _ => None,
        };
        let pairs: Option<Vec<_>> = self.iter().map(pair).collect();
        let (index, weight) = pairs?.into_iter().unzip();
        Some(ResizeTaps { index, weight })
    }

    fn iter(&self) -> impl Iterator<Item = &[(usize, f64)]> {
        let starts = std::iter::once(&0).chain(&self.ends);
        starts.zip(&self.ends).map(|(&start, &end)| &self.taps[start..end])
    }

    /// The elements chosen by [`Mode::Nearest`], `x` being `[outer, input, inner]`.
    pub(super) fn gather<T: Copy>(&self, x: &[T], input: usize, inner: usize) -> Vec<T> {
        let mut y = Vec::with_capacity(x.len() / input.max(1) * self.ends.len());
        for block in x.chunks_exact((input * inner).max(1)) {
            for &(i, _) in &self.taps {
                y.extend_from_slice(&block[i * inner..][..inner]);
            }
        }
        y
    }

    /// The weighted sums, `x` being `[outer, input, inner]`.
    pub(super) fn apply<T: Number>(&self, x: &[T], input: usize, inner: usize) -> Vec<T> {
        let zero = T::default();
        let mut y = Vec::with_capacity(x.len() / input.max(1) * self.ends.len());
        for block in x.chunks_exact((input * inner).max(1)) {
            for taps in self.iter() {
                let taps = taps.iter().map(|&(i, weight)| (i, T::nearest(weight)));
                if inner == 1 {
                    y.push(taps.fold(zero, |y, (i, weight)| y.plus(weight.times(block[i]))));
                    continue;
                }
                let start = y.len();
                y.resize(start + inner, zero);
                for (i, weight) in taps {
                    let row = &block[i * inner..][..inner];
                    let y = y[start..].iter_mut();
                    y.zip(row).for_each(|(y, &x)| *y = y.plus(weight.times(x)));
                }
            }
        }
        y
    }
}

/// Keys' kernel at distance `t`.
fn cubic(a: f64, t: f64) -> f64 {
    if t <= 1. {
        ((a + 2.) * t - (a + 3.)) * t * t + 1.
    } else if t < 2. {
        ((a * t - 5. * a) * t + 8. * a) * t - 4. * a
    } else {
        0.
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cubic_is_one_at_zero_and_zero_at_whole_distances() {
        for a in [-0.5, -0.75] {
            assert_eq!([0., 1., 2., 3.].map(|t| cubic(a, t)), [1., 0., 0., 0.]);
        }
    }

    #[test]
    fn same_length_is_the_identity() {
        let line = Line { input: 5, output: 5, scale: 1., region: [0., 1.] };
        let filter = Filter { antialias: true, exclude_outside: false };
        let modes = [Mode::Nearest(Nearest::Floor), Mode::Linear, Mode::Cubic { a: -0.75 }];
        for mode in modes {
            for coordinates in [
                Coordinates::HalfPixel,
                Coordinates::HalfPixelSymmetric,
                Coordinates::PytorchHalfPixel,
                Coordinates::TfHalfPixelForNn,
                Coordinates::AlignCorners,
                Coordinates::Asymmetric,
                Coordinates::TfCropAndResize,
            ] {
                let taps = Taps::new(&line, coordinates, mode, filter);
                assert!(taps.is_identity(5), "{mode:?}, {coordinates:?}: {taps:?}");
            }
        }
    }

    /// 1 / (2 / 7) is 3.4999998 in f32, but means 3.5.
    #[test]
    fn ties_in_spite_of_rounding() {
        let line = Line { input: 7, output: 2, scale: 2. / 7., region: [0., 1.] };
        let x = line.coordinate(Coordinates::Asymmetric, 1);
        assert_eq!(x, 3.499_999_8);
        assert_eq!(line.nearest(Nearest::RoundPreferFloor, x), 3);
        assert_eq!(line.nearest(Nearest::RoundPreferCeil, x), 4);
        assert_eq!(line.nearest(Nearest::Floor, -0.5), 0);
        assert_eq!(line.nearest(Nearest::Ceil, 6.5), 6);
    }
}
