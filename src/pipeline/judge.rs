//! [`Judge`]: the metrics of one network, float or quantized.

use std::path::Path;

use crate::artifact::Ordered;
use crate::metric::{self, Metric, MetricError, Reference, Sample};
use crate::pipeline::PipelineError;

/// Metrics that see the same outputs.
#[derive(Debug)]
pub(super) struct Judge {
    /// As in messages.
    network: &'static str,
    metrics: Vec<Judged>,
}

#[derive(Debug)]
struct Judged {
    key: String,
    takes_labels: bool,
    metric: Box<dyn Metric>,
}

impl Judge {
    /// `scratch` is a folder for all networks and metrics.
    pub(super) fn new(
        network: &'static str,
        texts: &[String],
        scratch: &Path,
    ) -> Result<Judge, PipelineError> {
        let create = |(index, text): (usize, &String)| {
            let metric = metric::create(text, &scratch.join(format!("{network}-{index}")))?;
            let (def, _) = metric::find(text)?;
            let takes_labels = matches!(def.reference, Reference::Labels(_));
            Ok(Judged { key: key(text, texts)?, takes_labels, metric })
        };
        let metrics = texts.iter().enumerate().map(create).collect::<Result<_, _>>();
        Ok(Judge { network, metrics: metrics.map_err(PipelineError::Metric)? })
    }

    pub(super) fn takes_labels(&self) -> bool {
        self.metrics.iter().any(|judged| judged.takes_labels)
    }

    /// `labels` is where the sample's label is from.
    pub(super) fn add(
        &mut self,
        sample: &Sample<'_>,
        labels: Option<&Path>,
    ) -> Result<(), PipelineError> {
        for Judged { metric, takes_labels, .. } in &mut self.metrics {
            metric.add(sample).map_err(|source| PipelineError::Sample {
                sample: sample.name.to_owned(),
                labels: labels.filter(|_| *takes_labels).map(Path::to_owned),
                source,
            })?;
        }
        Ok(())
    }

    /// What is not finite is unknown.
    pub(super) fn values(&self) -> Result<Ordered<Option<f64>>, PipelineError> {
        let value = |judged: &Judged| {
            let value = judged
                .metric
                .value()
                .map_err(|source| PipelineError::Score { network: self.network, source })?;
            Ok((judged.key.clone(), value.filter(|value| value.is_finite())))
        };
        self.metrics.iter().map(value).collect()
    }
}

/// The name of a metric; where several have one name, the whole text of each.
fn key(text: &str, texts: &[String]) -> Result<String, MetricError> {
    let name = metric::find(text)?.0.name;
    let is_same = |other: &&String| metric::find(other).is_ok_and(|(def, _)| def.name == name);
    let is_alone = texts.iter().filter(is_same).count() == 1;
    Ok(if is_alone { name.to_owned() } else { text.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys() {
        let keys = |texts: &[&str]| {
            let texts: Vec<String> = texts.iter().map(|&text| text.to_owned()).collect();
            let judge = Judge::new("float", &texts, Path::new("")).unwrap();
            judge.metrics.into_iter().map(|judged| judged.key).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(keys(&["miou=1:0", "top1", "f1=macro"]), "miou top1 f1");
        assert_eq!(keys(&["f1", "f1=macro", "top1"]), "f1 f1=macro top1");
    }
}
