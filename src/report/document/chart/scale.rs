//! [`Scale`]: from values to places in a picture, with round ticks.

/// Values beyond are drawn at the edge; a file may hold any number.
const FARTHEST: f64 = 1e15;

/// A linear scale whose ends are ticks.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::report::document) struct Scale {
    lowest: f64,
    step: f64,
    n_steps: u32,
    /// Where the lowest and the highest tick are.
    range: [f64; 2],
}

impl Scale {
    /// Spans all values with about `n` steps of 1, 2, 2.5 or 5 times a power of ten.
    pub(in crate::report::document) fn new(
        values: impl IntoIterator<Item = f64>,
        n: u32,
        range: [f64; 2],
    ) -> Scale {
        let values = values.into_iter().filter(|value| value.is_finite()).map(clamp);
        let ends = values.fold(None, |ends: Option<[f64; 2]>, value| {
            let [low, high] = ends.unwrap_or([value, value]);
            Some([low.min(value), high.max(value)])
        });
        let [low, high] = ends.unwrap_or([0., 1.]);
        let least = low.abs().max(high.abs()) * 1e-6;
        let step = round_step((high - low).max(least).max(1e-9) / f64::from(n));
        let lowest = (low / step).floor();
        let highest = (high / step).ceil().max(lowest + 1.);
        Scale { lowest: lowest * step, step, n_steps: (highest - lowest) as u32, range }
    }

    pub(in crate::report::document) fn place(&self, value: f64) -> f64 {
        let [start, end] = self.range;
        let share = (clamp(value) - self.lowest) / (self.step * f64::from(self.n_steps));
        start + share.clamp(0., 1.) * (end - start)
    }

    /// Every tick with its text.
    pub(in crate::report::document) fn ticks(&self) -> Vec<(f64, String)> {
        let decimals = (-self.step.log10()).ceil().clamp(0., 9.) as usize;
        let is_exact = |decimals: usize| {
            let scaled = self.step * 10_f64.powi(decimals as i32);
            (scaled - scaled.round()).abs() < 1e-6
        };
        let decimals = if is_exact(decimals) { decimals } else { decimals + 1 };
        let tick = |index| {
            let value = self.lowest + self.step * f64::from(index);
            // No minus before a zero.
            let value = if value.abs() < self.step * 1e-6 { 0. } else { value };
            (value, format!("{value:.decimals$}"))
        };
        (0..=self.n_steps).map(tick).collect()
    }
}

fn clamp(value: f64) -> f64 {
    value.clamp(-FARTHEST, FARTHEST)
}

fn round_step(step: f64) -> f64 {
    let power = 10_f64.powf(step.log10().floor());
    let factor = [1., 2., 2.5, 5.].into_iter().find(|factor| step <= factor * power * 1.000_001);
    factor.unwrap_or(10.) * power
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(values: &[f64], n: u32) -> String {
        let ticks = Scale::new(values.iter().copied(), n, [0., 100.]).ticks();
        ticks.into_iter().map(|(_, text)| text).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn ticks_are_round() {
        assert_eq!(texts(&[-12., 41.], 5), "-20 0 20 40 60");
        assert_eq!(texts(&[0.25, 1.], 4), "0.2 0.4 0.6 0.8 1.0");
        assert_eq!(texts(&[0., 1.], 5), "0.0 0.2 0.4 0.6 0.8 1.0");
        assert_eq!(texts(&[31.2, 40.1], 4), "30.0 32.5 35.0 37.5 40.0 42.5");
    }

    #[test]
    fn any_values_have_a_scale() {
        for values in [&[][..], &[5.], &[0., 0.], &[f64::NAN], &[-1e308, 1e308], &[1e300]] {
            let scale = Scale::new(values.iter().copied(), 5, [100., 0.]);
            let ticks = scale.ticks();
            assert!((2..12).contains(&ticks.len()), "{values:?}: {ticks:?}");
            assert!(values.iter().all(|&value| !scale.place(value).is_infinite()), "{values:?}");
        }
    }

    #[test]
    fn places_run_from_end_to_end() {
        let scale = Scale::new([0., 10.], 5, [200., 0.]);
        assert_eq!([0., 5., 10., 99.].map(|value| scale.place(value)), [200., 100., 0., 0.]);
    }
}
