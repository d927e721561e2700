//! Rounds the weights of a network by a method that looks at what layers see, and corrects biases for it.

use crate::data::Feed;
use crate::pipeline::{Kept, Network, PipelineError, Resources};
use crate::progress::Progress;
use crate::quant::{Correcting, Corrections, Effort, Encodings, Fit, Fitting, Rounded, fit};
use crate::shard::Shard;

/// What a thread takes to multiply patches, which are unfolded a block at a time.
const PATCHES_BYTES: usize = 3 << 20;

impl Network {
    /// All weights at every width that has an encoding; `None` where they are rounded to nearest.
    pub fn round(
        &self,
        encodings: &Encodings,
        effort: Effort,
        feed: &Feed<'_>,
        kept: Option<&Kept>,
        resources: Resources,
        progress: &dyn Progress,
    ) -> Result<Option<Rounded>, PipelineError> {
        self.round_share(encodings, (effort, Shard::WHOLE), feed, kept, resources, progress)
    }

    /// The same for the weights of a shard.
    pub fn round_share(
        &self,
        encodings: &Encodings,
        (effort, shard): (Effort, Shard),
        feed: &Feed<'_>,
        kept: Option<&Kept>,
        resources: Resources,
        progress: &dyn Progress,
    ) -> Result<Option<Rounded>, PipelineError> {
        let method = self.settings.rounding;
        if method.is_nearest() {
            return Ok(None);
        }
        let Network { graph, types, placement, .. } = self;
        let kept = kept.map(|kept| kept.rounding(effort));
        let kept = kept.as_ref();
        let fitting = Fitting { graph, types, placement, encodings, method, effort, kept };
        let fitting = Fit::new(fitting).share(feed.len(), shard);
        let room = self.bytes_beside_passes(resources)?;
        let room = room.saturating_sub(rayon::current_num_threads() * PATCHES_BYTES);
        let kind = self.settings.engine;
        let engine = kind.start(graph, resources.memory_bytes, &fitting.inputs());
        let rounded = fit(&fitting, &*engine, feed, room, progress);
        rounded.map(Some).map_err(PipelineError::Round)
    }

    /// The same encodings with corrected biases, where they are to be.
    pub fn correct_biases(
        &self,
        encodings: Encodings,
        rounded: Option<&Rounded>,
        feed: &Feed<'_>,
        resources: Resources,
        progress: &dyn Progress,
    ) -> Result<Encodings, PipelineError> {
        if !self.settings.preparation.correct_biases {
            return Ok(encodings);
        }
        // A pass on each thread keeps what layers read.
        self.bytes_beside_passes(resources)?;
        let Network { graph, types, placement, .. } = self;
        let correcting = Correcting { graph, types, placement, encodings: &encodings, rounded };
        let corrections = Corrections::new(correcting);
        let kind = self.settings.engine;
        let engine = kind.start(graph, resources.memory_bytes, &corrections.inputs());
        let biases = corrections.biases(&*engine, feed, progress);
        let biases = biases.map_err(PipelineError::Calibration)?;
        Ok(Encodings { biases, ..encodings })
    }
}
