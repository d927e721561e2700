//! [`Feed`]: samples as the network takes them, one at a time or as many as its fixed batch.

use crate::data::{DataError, Dataset, InputSpec};
use crate::dispatch;
use crate::tensor::Tensor;

/// Passes over a dataset. A network with a fixed batch of B takes B samples a pass; the last pass is
/// filled up with its last sample, which [`Feed::n_samples_in`] does not count.
#[derive(Debug, Clone, Copy)]
pub struct Feed<'a> {
    dataset: &'a Dataset,
    batch: usize,
}

impl<'a> Feed<'a> {
    pub fn new(dataset: &'a Dataset, inputs: &[InputSpec]) -> Feed<'a> {
        let batches = inputs.iter().filter_map(|input| input.dims.first().copied().flatten());
        Feed { dataset, batch: batches.max().unwrap_or(1).max(1) }
    }

    pub fn dataset(&self) -> &'a Dataset {
        self.dataset
    }

    /// Samples in a pass.
    pub fn batch(&self) -> usize {
        self.batch
    }

    /// Number of passes.
    pub fn len(&self) -> usize {
        self.dataset.len().div_ceil(self.batch)
    }

    pub fn is_empty(&self) -> bool {
        self.dataset.is_empty()
    }

    /// The samples of a pass: half open range of the dataset's.
    pub fn samples(&self, pass: usize) -> std::ops::Range<usize> {
        pass * self.batch..((pass + 1) * self.batch).min(self.dataset.len())
    }

    pub fn n_samples_in(&self, pass: usize) -> usize {
        self.samples(pass).len()
    }

    /// The name of the pass's first sample, for messages.
    pub fn name(&self, pass: usize) -> String {
        self.dataset.key(pass * self.batch).name
    }

    /// The batch is a number in the model's file.
    fn expect_room(&self, sample: &[Tensor]) -> Result<(), DataError> {
        let held = sample.iter().map(Tensor::held_bytes);
        let sample_bytes = held.fold(0, usize::saturating_add);
        let found_bytes = sample_bytes.saturating_mul(self.batch);
        let limit_bytes = self.dataset.limit_bytes();
        if found_bytes <= limit_bytes {
            return Ok(());
        }
        Err(DataError::Batch { batch: self.batch, found_bytes, limit_bytes })
    }

    /// A tensor for each input of the network.
    pub fn inputs(&self, pass: usize) -> Result<Vec<Tensor>, DataError> {
        let range = self.samples(pass);
        let mut samples: Vec<Vec<Tensor>> =
            range.map(|index| self.dataset.sample(index)).collect::<Result<_, _>>()?;
        self.expect_room(&samples[0])?;
        while samples.len() < self.batch {
            samples.push(samples.last().expect("a pass has a sample").clone());
        }
        let n_inputs = samples[0].len();
        Ok((0..n_inputs)
            .map(|input| stack(samples.iter().map(|sample| &sample[input]).collect()))
            .collect())
    }
}

/// Joins tensors of one shape along their first axis. Without any axis there is one for all samples.
fn stack(tensors: Vec<&Tensor>) -> Tensor {
    let first = tensors[0];
    if tensors.len() == 1 || first.rank() == 0 {
        return first.clone();
    }
    let mut shape = first.shape().to_vec();
    if let Some(batch) = shape.first_mut() {
        *batch *= tensors.len();
    }
    dispatch!(first.dtype(), T => {
        let elements = tensors.iter().flat_map(|tensor| tensor.slice::<T>()).copied().collect();
        Tensor::from_vec(&shape, elements)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{ImageOptions, ImageSettings, Options};
    use crate::progress::Silent;
    use crate::tensor::DType;

    #[test]
    fn a_fixed_batch_is_filled_up_with_the_last_sample() {
        let spec = |batch| InputSpec {
            name: "x".to_owned(),
            dtype: DType::F32,
            dims: vec![batch, Some(2)],
        };
        let options = Options {
            images: ImageSettings::Resolve(ImageOptions::UNSET),
            samples: Some(5),
            seed: 1,
            skip_bad: false,
            limit_bytes: 4096,
        };
        let inputs = [spec(Some(3))];
        let data = Dataset::open(&["noise".into()], &inputs, &options, &Silent).unwrap();
        let feed = Feed::new(&data, &inputs);
        assert_eq!((feed.len(), feed.batch()), (2, 3));
        assert_eq!([0, 1].map(|pass| feed.n_samples_in(pass)), [3, 2]);
        let last = feed.inputs(1).unwrap();
        assert_eq!(last[0].shape(), [3, 2]);
        let rows: Vec<&[f32]> = last[0].slice::<f32>().chunks(2).collect();
        assert_eq!(rows[1], rows[2]);
        assert_eq!(rows[0], data.sample(3).unwrap()[0].slice::<f32>());

        let single = Feed::new(&data, &[spec(None)]);
        assert_eq!((single.len(), single.batch()), (5, 1));

        let endless = Feed::new(&data, &[spec(Some(1 << 40))]).inputs(0).unwrap_err().to_string();
        assert!(endless.starts_with("a batch of 1099511627776 samples takes "), "{endless}");

        let scalar = InputSpec { name: "s".to_owned(), dtype: DType::F32, dims: Vec::new() };
        let inputs = [spec(Some(3)), scalar];
        let data = Dataset::open(&["noise".into()], &inputs, &options, &Silent).unwrap();
        let shapes: Vec<usize> = Feed::new(&data, &inputs).inputs(0).unwrap()[1].shape().to_vec();
        assert!(shapes.is_empty());
    }
}
