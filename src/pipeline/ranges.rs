//! Encodings that one machine makes for all: the [`Ranges`] file.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use crate::artifact::{Artifact as _, Ranges};
use crate::cache::Digest;
use crate::data::Dataset;
use crate::graph::ValueId;
use crate::pipeline::encoded::{check_encodings, measured_encodings, read_encodings};
use crate::pipeline::gaps::json;
use crate::pipeline::{Head, Network, PipelineError};
use crate::quant::{Bits, Candidate, Encoding, Encodings, Group};

/// The `ranges` file; `samples` are the digests of the calibration samples.
pub fn ranges_file(
    network: &Network,
    encodings: &Encodings,
    head: Head,
    samples: &[Digest],
) -> Ranges {
    Ranges {
        schema: Ranges::schema(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        model: head.model,
        calibration: head.calibration,
        settings: head.settings,
        candidates: network.settings.candidates.as_slice().to_vec(),
        samples: samples.iter().map(Digest::to_string).collect(),
        encodings: measured_encodings(network, encodings),
    }
}

impl Network {
    /// The encodings of a file, if they are those that this network, these settings and these samples would
    /// come to. Of the samples only the number is looked at; that they are the same is assumed for
    /// [`Dataset::digests`], and looked at by [`expect_samples`].
    pub fn read_ranges(
        &self,
        file: &Ranges,
        data: &mut Dataset,
    ) -> Result<Encodings, PipelineError> {
        file.expect_model(&self.sha256).map_err(PipelineError::Artifact)?;
        let head = Head::with(self, file.calibration.clone());
        let (found, expected) = (&file.settings, &head.settings);
        for (what, found, expected) in [
            ("version", json(&file.version), json(&env!("CARGO_PKG_VERSION"))),
            ("number of samples", json(&file.calibration.samples), json(&data.len())),
            ("preprocessing", json(&file.calibration.preprocessing), json(&data.preprocessing())),
            ("target", json(&found.target), json(&expected.target)),
            ("--range", json(&found.range), json(&expected.range)),
            ("--weights", json(&found.weights), json(&expected.weights)),
            ("--equalize", json(&found.equalize), json(&expected.equalize)),
            ("engine", json(&found.engine), json(&expected.engine)),
            ("seed", json(&found.seed), json(&expected.seed)),
            ("dimensions", json(&found.dims), json(&expected.dims)),
            ("candidates", json(&file.candidates), json(&self.settings.candidates.as_slice())),
        ] {
            if found != expected {
                return Err(PipelineError::OtherRanges { what, found, expected });
            }
        }
        let encodings = read_encodings(self, &file.encodings);
        check_encodings(self, &encodings)?;
        self.check_widths(&encodings)?;
        let n_samples = json(&file.samples.len());
        let digests = file.samples.iter().map(|digest| digest.parse().ok());
        let digests: Option<Vec<Digest>> = digests.collect();
        match digests.filter(|digests| digests.len() == data.len()) {
            Some(digests) => data.assume_digests(digests),
            None => {
                let (what, expected) = ("number of SHA-256 of samples", json(&data.len()));
                return Err(PipelineError::OtherRanges { what, found: n_samples, expected });
            }
        }
        Ok(encodings)
    }

    /// A pin or a rule more or less shows in the widths alone.
    fn check_widths(&self, encodings: &Encodings) -> Result<(), PipelineError> {
        let Network { placement, .. } = self;
        let sites = placement.activations.iter().zip(&encodings.activations);
        for (value, by_bits) in sites {
            let is_in = |group: &Group| group.activations.contains(value);
            self.check_widths_of(*value, by_bits, is_in, |choice| Some(choice.activation))?;
        }
        for (index, by_bits) in encodings.weights.iter().enumerate() {
            let is_in = |group: &Group| group.weights.contains(&index);
            let value = placement.weights[index].value;
            self.check_widths_of(value, by_bits, is_in, |choice| choice.weight)?;
        }
        for (index, by_bits) in encodings.operands.iter().enumerate() {
            let is_in = |group: &Group| group.operands.contains(&index);
            let value = placement.operands[index].value;
            self.check_widths_of(value, by_bits, is_in, |choice| Some(choice.activation))?;
        }
        Ok(())
    }

    fn check_widths_of(
        &self,
        value: ValueId,
        by_bits: &BTreeMap<Bits, Encoding>,
        is_in: impl Fn(&Group) -> bool,
        width: fn(&Candidate) -> Option<Bits>,
    ) -> Result<(), PipelineError> {
        let groups = self.groups.groups.iter().filter(|group| is_in(group));
        let widths = groups.flat_map(|group| &group.choices).filter_map(width);
        let expected: BTreeSet<Bits> = widths.filter(|bits| !bits.is_float()).collect();
        if by_bits.keys().eq(&expected) {
            return Ok(());
        }
        let texts = |bits: &mut dyn Iterator<Item = &Bits>| {
            bits.map(Bits::to_string).collect::<Vec<_>>().join(", ")
        };
        Err(PipelineError::Widths {
            name: self.graph.value_name(value).to_owned(),
            found: texts(&mut by_bits.keys()),
            expected: texts(&mut expected.iter()),
        })
    }
}

/// Refuses samples that are others than those of the file.
pub fn expect_samples(
    file: &Ranges,
    data: &Dataset,
    read: Range<usize>,
) -> Result<(), PipelineError> {
    for (sample, found) in read.clone().zip(data.digests_of(read).map_err(PipelineError::Data)?) {
        let (found, expected) = (found.to_string(), file.samples.get(sample));
        if expected.is_none_or(|expected| *expected != found) {
            let (sample, expected) = (data.name(sample), expected.cloned().unwrap_or_default());
            return Err(PipelineError::OtherSample { sample, found, expected });
        }
    }
    Ok(())
}
