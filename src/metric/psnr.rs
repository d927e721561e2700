//! `psnr`: peak signal-to-noise ratio of the output against a target image or array, in decibels; the
//! mean over the samples.
//!
//! Of one sample `10 log10(peak^2 / mean((output - target)^2))`, nothing clipped or rounded.
//! `psnr=255` sets the peak, by default 1. A target image spans 0 to the peak; an array is taken as
//! it is. Without any difference in some sample there is no value.

use crate::data::{Label, LabelKind};
use crate::metric::{Created, Metric, MetricDef, MetricError, Reference, Sample, Setup, Unit};

pub(super) const PSNR: MetricDef = MetricDef {
    name: NAME,
    reference: Reference::Labels(LabelKind::Target),
    unit: Unit::Decibels,
    new: create,
};

const NAME: &str = "psnr";

#[derive(Debug)]
struct Psnr {
    peak: f64,
    sum_db: f64,
    samples: u64,
}

fn create(setup: Setup<'_>) -> Created {
    let read = |text: &str| {
        let peak = text.trim().parse().ok().filter(|&peak: &f64| 0. < peak && peak.is_finite());
        peak.ok_or_else(|| MetricError::option(NAME, text, "the peak, a number above 0"))
    };
    Ok(Box::new(Psnr { peak: setup.option.map_or(Ok(1.), read)?, sum_db: 0., samples: 0 }))
}

impl Metric for Psnr {
    fn add(&mut self, sample: &Sample<'_>) -> Result<(), MetricError> {
        let Some(Label::Target(target)) = sample.label else {
            return Err(MetricError::Label { metric: NAME, expected: "images or arrays" });
        };
        let output = sample.outputs.first();
        let is_some = output.filter(|output| !output.is_empty());
        let Some((output, found)) = is_some.and_then(|output| Some((output, output.to_f64()?)))
        else {
            return Err(MetricError::output(NAME, output, "numbers"));
        };
        let Some(expected) = target.values(output.shape(), self.peak) else {
            let (output, target) = (output.ty(), target.to_string());
            return Err(MetricError::Target { output, target });
        };
        let squares = found.iter().zip(&expected).map(|(a, b)| (a - b) * (a - b));
        let mean = squares.sum::<f64>() / found.len() as f64;
        if !mean.is_finite() {
            return Err(MetricError::NotFinite { metric: NAME });
        }
        self.sum_db += 10. * (self.peak * self.peak / mean).log10();
        self.samples += 1;
        Ok(())
    }

    fn value(&self) -> Result<Option<f64>, MetricError> {
        let mean = (self.samples > 0).then(|| self.sum_db / self.samples as f64);
        Ok(mean.filter(|mean| mean.is_finite()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Target;
    use crate::metric::testing::value;
    use crate::tensor::Tensor;

    fn sample(output: &[f32], target: &[f32]) -> (Tensor, Label) {
        let target = Tensor::from_vec(&[target.len()], target.to_vec());
        let output = Tensor::from_vec(&[1, output.len()], output.to_vec());
        (output, Label::Target(Target::array(target)))
    }

    #[test]
    fn decibels() {
        let samples = [sample(&[0., 0.5], &[0.1, 0.4]), sample(&[1., 1.], &[0., 0.])];
        let close = |metric: &str, samples: &[(Tensor, Label)], expected: f64| {
            let found = value(metric, samples).unwrap().unwrap();
            assert!((found - expected).abs() < 1e-6, "{metric}: {found}, expected {expected}");
        };
        close("psnr", &samples[..1], 20.);
        close("psnr", &samples, 10.);
        close("psnr=10", &samples, 30.);
        close("psnr=255", &[sample(&[0.], &[255.])], 0.);
    }

    #[test]
    fn no_difference_has_no_value() {
        let samples = [sample(&[1.], &[1.]), sample(&[1.], &[0.])];
        assert_eq!(value("psnr", &samples).unwrap(), None);
    }

    #[test]
    fn refusals() {
        let error = value("psnr", &[sample(&[1.], &[1., 2.])]).unwrap_err().to_string();
        assert_eq!(
            error,
            "the output is float32 [1, 1], the target float32 [2], expected one shape"
        );
        let error = value("psnr", &[sample(&[], &[])]).unwrap_err().to_string();
        assert_eq!(error, "metric `psnr` found an output of float32 [1, 0], expected numbers");
        let error = value("psnr", &[sample(&[f32::NAN], &[0.])]).unwrap_err().to_string();
        assert_eq!(error, "metric `psnr` found values that are not finite");
        for peak in ["0", "-1", "inf", ""] {
            let error = value(&format!("psnr={peak}"), &[]).unwrap_err().to_string();
            assert!(error.ends_with("expected the peak, a number above 0"), "{error}");
        }
    }
}
