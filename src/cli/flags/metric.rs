//! What networks are judged by: metrics, and the labels that they compare with.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::ensure;
use mpq::data::{Dataset, Feed, InputSpec, LabelKind, Labels};
use mpq::graph::Graph;
use mpq::metric::{self, MetricError, Reference};
use mpq::pipeline::{Judged, Preparation, Scorer, Validation};

use crate::cli::flags::CacheArgs;
use crate::cli::scratch::Scratch;
use crate::cli::{RunArgs, Ui};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct MetricArgs {
    /// Right answers: a CSV file, an array or a folder
    ///
    /// Of classes and numbers a CSV file with a header (`file,label` by relative path, or `row,label`) or
    /// a `.npy` of [N]; class subfolders; a folder of PNG masks with the images' names; of psnr a
    /// folder of images or `.npy` files with the samples' names, or a `.npy` of [N, ...].
    #[arg(long, value_name = "PATH")]
    labels: Option<PathBuf>,

    /// What is told, any number of them [default: top1, top5]
    ///
    /// With classes as labels: top1, top5, accuracy, f1 (of class 1; f1=macro, f1=micro,
    /// f1=weighted), matthews. With masks: miou (miou=6:1,*:0 maps the network's classes). With
    /// numbers: pearson, spearman. With images or arrays: psnr (psnr=255 sets the peak, default 1).
    /// Without labels: agreement with the float network's arg max; command:CMD, a shell command that
    /// gets the path of an .npz with all outputs as last argument and prints one number.
    ///
    /// One output alone says class 1 where it is above 0; accuracy=0.5, f1=0.5, f1=macro,0.5,
    /// matthews=0.5 and agreement=0.5 set that threshold.
    #[arg(long = "metric", value_name = "NAME", value_parser = metric_name)]
    metrics: Vec<String>,
}

/// The model that is judged.
#[derive(Clone, Copy)]
pub(in crate::cli) struct Subject<'a> {
    /// File and SHA-256.
    pub(in crate::cli) model: (&'a str, &'a str),
    pub(in crate::cli) graph: &'a Graph,
    /// What was done to it.
    pub(in crate::cli) preparation: Preparation,
    pub(in crate::cli) dims: &'a BTreeMap<String, usize>,
}

pub(in crate::cli) fn metric_name(text: &str) -> Result<String, MetricError> {
    metric::create(text, Path::new("")).map(|_| text.to_owned())
}

fn label_kind(reference: Reference) -> Option<LabelKind> {
    match reference {
        Reference::Labels(kind) => Some(kind),
        Reference::Float | Reference::Command => None,
    }
}

impl MetricArgs {
    /// By default those that class labels are good for.
    pub(in crate::cli) fn metrics(&self) -> Vec<String> {
        match (&self.labels, self.metrics.as_slice()) {
            (Some(_), []) => ["top1", "top5"].map(str::to_owned).to_vec(),
            (_, metrics) => metrics.to_vec(),
        }
    }

    /// The first flag that was given.
    pub(in crate::cli) fn first_given(&self) -> Option<&'static str> {
        let given = [("--labels", self.labels.is_some()), ("--metric", !self.metrics.is_empty())];
        given.iter().find(|(_, is_given)| *is_given).map(|(flag, _)| *flag)
    }

    /// Takes this metric if none was given.
    pub(in crate::cli) fn by_default(&mut self, metric: &str) {
        if self.metrics.is_empty() {
            self.metrics.push(metric.to_owned());
        }
    }

    /// Whether there are the labels that the metrics need, and no others.
    pub(in crate::cli) fn check(&self) -> anyhow::Result<()> {
        let metrics = self.metrics();
        let mut kinds = Vec::new();
        for text in &metrics {
            if let Some(kind) = label_kind(metric::find(text)?.0.reference) {
                ensure!(
                    self.labels.is_some(),
                    "metric `{text}` compares with labels, and there are none\nhint: give --labels"
                );
                kinds.push(kind);
            }
        }
        let names = metrics.join("`, `");
        ensure!(
            self.labels.is_none() || !kinds.is_empty(),
            "`--labels` is given, and none of the metrics `{names}` takes labels"
        );
        ensure!(
            kinds.windows(2).all(|pair| pair[0] == pair[1]),
            "metrics are `{names}`, expected all of them to take the same labels"
        );
        Ok(())
    }

    /// Of the kind that the metrics take.
    pub(in crate::cli) fn open_labels(&self) -> anyhow::Result<Option<Labels>> {
        let Some(path) = &self.labels else { return Ok(None) };
        let mut kind = None;
        for text in self.metrics() {
            kind = kind.or(label_kind(metric::find(&text)?.0.reference));
        }
        Ok(kind.map(|kind| Labels::open(path, kind)).transpose()?)
    }

    /// One metric, and the labels that it compares with.
    pub(in crate::cli) fn one(metric: String, labels: Option<PathBuf>) -> MetricArgs {
        MetricArgs { labels, metrics: vec![metric] }
    }

    /// Scores the float network, then does the rest.
    pub(in crate::cli) fn with_scorer<T>(
        &self,
        subject: Subject<'_>,
        (data, inputs): (&Dataset, &[InputSpec]),
        (run, cache): (&RunArgs, &CacheArgs),
        ui: &Ui,
        then: impl FnOnce(&Scorer<'_>) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let (labels, scratch) = (self.open_labels()?, self.scratch()?);
        let Subject { model, graph, preparation, dims } = subject;
        let engine = run.start_engine(graph);
        let memory_bytes = run.resources().memory_bytes / 8;
        data.hold(memory_bytes);
        let (feed, metrics) = (Feed::new(data, inputs), self.metrics());
        let (labels, feed) = (labels.as_ref(), &feed);
        let judged = Judged {
            model,
            graph,
            preparation,
            engine: run.engine(),
            dims,
            feed,
            metrics: &metrics,
            labels,
        };
        let kept = cache.open(ui).map(|cache| judged.kept(cache)).transpose()?.flatten();
        let scorer = Scorer::new(Validation {
            graph,
            engine: &*engine,
            feed,
            labels,
            metrics: &metrics,
            scratch: scratch.as_ref().map_or(Path::new(""), Scratch::path),
            memory_bytes,
            kept: kept.as_ref(),
            progress: ui,
        })?;
        then(&scorer)
    }

    /// A folder for metrics that put files into one.
    pub(in crate::cli) fn scratch(&self) -> anyhow::Result<Option<Scratch>> {
        let mut metrics = self.metrics.iter().filter_map(|text| metric::find(text).ok());
        let needs_one = metrics.any(|(def, _)| def.reference == Reference::Command);
        needs_one.then(Scratch::new).transpose()
    }
}
