//! [`Exam`]: the samples that networks are judged on, one after the other.

use crate::data::{Feed, Label, Labels};
use crate::dispatch;
use crate::exec::Values;
use crate::graph::{Graph, ValueId};
use crate::metric::Sample;
use crate::pipeline::PipelineError;
use crate::pipeline::judge::Judge;
use crate::tensor::Tensor;

/// Samples with their labels, and the graph that they are inputs of.
#[derive(Clone, Copy)]
pub(super) struct Exam<'a> {
    pub(super) graph: &'a Graph,
    pub(super) feed: &'a Feed<'a>,
    pub(super) labels: Option<&'a Labels>,
}

impl Exam<'_> {
    /// One sample's part of all outputs of the graph.
    pub(super) fn outputs(&self, values: &Values, slot: usize) -> Vec<Tensor> {
        self.graph.outputs().iter().map(|&id| self.output(values, id, slot)).collect()
    }

    /// One sample's part of an output, with a batch axis of 1.
    pub(super) fn output(&self, values: &Values, id: ValueId, slot: usize) -> Tensor {
        let tensor = values.get(id).expect("a pass gives all outputs");
        let batch = self.feed.batch();
        if batch == 1 || tensor.shape().first() != Some(&batch) {
            return tensor.clone();
        }
        let mut shape = tensor.shape().to_vec();
        shape[0] = 1;
        let len = tensor.len() / batch;
        dispatch!(tensor.dtype(), T => {
            Tensor::from_vec(&shape, tensor.slice::<T>()[slot * len..(slot + 1) * len].to_vec())
        })
    }

    /// Shows a sample to judges of one kind, each with what its network puts out; `float` is what
    /// the float network does.
    pub(super) fn show<'j>(
        &self,
        index: usize,
        judges: impl IntoIterator<Item = (&'j mut Judge, &'j [Tensor])>,
        float: &[Tensor],
    ) -> Result<(), PipelineError> {
        let key = self.feed.dataset().key(index);
        let ids = self.graph.outputs();
        let output_names: Vec<&str> = ids.iter().map(|&id| self.graph.value_name(id)).collect();
        let (name, output_names) = (&key.name, &output_names[..]);
        let mut label: Option<Label> = None;
        for (judge, outputs) in judges {
            let labels = self.labels.filter(|_| judge.takes_labels());
            if let (Some(labels), None) = (labels, &label) {
                label = Some(labels.get(&key).map_err(PipelineError::Data)?);
            }
            let label = label.as_ref().filter(|_| labels.is_some());
            let sample = Sample { name, outputs, output_names, float, label };
            judge.add(&sample, labels.map(Labels::path))?;
        }
        Ok(())
    }
}
