//! Mixed-precision post-training quantization of ONNX models.
//!
//! `mpq` decides how many bits every weight and activation of a trained float network gets, so that
//! it stays as accurate as it can within a compute or memory budget. The method is that of Pandey et
//! al., "A Practical Mixed Precision Algorithm for Post-Training Quantization" (arXiv 2302.05397).
//!
//! # Words
//!
//! | word | meaning |
//! | --- | --- |
//! | encoding | bits, signedness, symmetric or not, scale(s), zero point(s), channel axis: all that maps real numbers to integers |
//! | range | (min, max) that an encoding is made from |
//! | quantizer | one place where a value is rounded: an activation tensor or a weight tensor |
//! | group | quantizers that the hardware forces to one choice |
//! | candidate | a pair such as `W4A8`: weight bits, activation bits; 32 means left in float |
//! | configuration | a candidate for every group |
//! | sensitivity list | every (group, candidate) with its SQNR, least sensitive first |
//! | point, curve | (cost, quality) of one configuration; all points of one walk |
//! | target | a hardware description: candidates, what is fused, what shares a choice, how activations are encoded |
//! | sample, calibration set | one input of the network; all of them |
//! | MACs, BOPs | multiply-accumulates of one inference at batch 1; MACs x weight bits x activation bits |
//!
//! # Modules, each knowing only those above it
//!
//! | module | does |
//! | --- | --- |
//! | [`tensor`] | a value: dtype, shape, shared storage |
//! | [`shard`] | one of N shares of some work, by cost |
//! | [`progress`] | the trait that long work reports to; the library itself never prints |
//! | [`cache`] | what was measured, kept by content |
//! | `pixels` | images from bytes |
//! | [`kernels`] | the hot loops that several operators share; SIMD chosen at run time |
//! | [`ops`] | one table of operators; a file per operator or family, its `eval` the reference |
//! | [`graph`] | nodes and values by id, shape inference, simplification, fused patterns |
//! | [`onnx`] | the only module that sees protobuf: load, upgrade of old opsets, save |
//! | [`exec`] | runs a graph, whole or from changed values on, by the fast engine or the reference; knows nothing of bit-widths |
//! | [`data`] | samples: images, npy/npz, `.pb`, noise; preprocessing; labels; archives of outputs |
//! | [`quant`] | encodings, ranges, targets, groups, calibration, equalization, simulation, rounding, bias correction |
//! | [`cost`] | what a configuration costs |
//! | [`metric`] | how good outputs are, against labels or the float network; a file per metric |
//! | [`sensitivity`] | Phase 1 |
//! | [`search`] | Phase 2 on a `Problem`; knows nothing of networks |
//! | [`artifact`] | the JSON files |
//! | [`pipeline`] | the network behind the `Problem`; "search this model" as one call |
//! | [`export`] | what deployment tools read: QDQ models, encodings, overrides; a file per format |
//! | [`report`] | terminal tables; a result as a page, pictures and tables |
//!
//! # A search
//!
//! What `mpq search` does, with its defaults:
//!
//! ```
//! use std::collections::BTreeMap;
//! use std::path::Path;
//!
//! use mpq::data::{Dataset, Feed, Options};
//! use mpq::pipeline::{
//!     Head, Measuring, Network, Resources, Searched, Settings, Study, input_specs, input_types,
//!     search,
//! };
//! use mpq::progress::Silent;
//! use mpq::search::{Goal, Strategy};
//!
//! let digits = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/digits");
//! let model = mpq::onnx::load(&digits.join("model.onnx"), &BTreeMap::new())?;
//! let inputs = input_specs(&model.graph);
//! let options = Options { samples: Some(8), ..Options::default() };
//! let data = Dataset::open(&[digits.join("calib")], &inputs, &options, &Silent)?;
//! let types = input_types(&model.graph)?;
//! let network = Network::new(model, &types, Settings::default())?;
//!
//! // Phase 1: ranges, then how much each group hurts at each candidate.
//! let resources = Resources::default();
//! let engine = network.engine(resources);
//! let feed = Feed::new(&data, &inputs);
//! let encodings = network.calibrate(&*engine, &feed, None, &Silent)?;
//! let simulator = network.simulator(&encodings, None);
//! let measuring = Measuring {
//!     simulator: &simulator,
//!     rounded: None,
//!     engine: &*engine,
//!     feed: &feed,
//!     kept: None,
//!     resources,
//!     progress: &Silent,
//! };
//! let sensitivity = network.sensitivity(&measuring)?;
//!
//! // Phase 2: the paper's walk, to 0.6 of the bit operations of W8A16.
//! let mut study = Study::new(&network, &encodings, &sensitivity, Some(measuring))?;
//! let goal = Goal { budgets: vec!["0.6".parse()?], keep_free: false };
//! let pareto = Strategy::find("pareto").expect("it is one of them");
//! let head = Head::new(&network, &data)?;
//! let Searched::Found { config, .. } = search(&mut study, pareto, &goal, head)? else {
//!     panic!("0.6 can be reached")
//! };
//! assert!(config.cost.relative_bops.is_some_and(|bops| bops <= 0.6));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! `examples/run_model.rs` runs a model on images; `examples/own_strategy.rs` searches with a
//! strategy of its own.
//!
//! # Promises
//!
//! `graph` and everything above it know nothing of ONNX files. A result never depends on the clock, on hash
//! order, on the number of threads, on the batch or on the cache. The library never prints, never
//! exits and never reads the environment.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod artifact;
pub mod cache;
pub mod cost;
pub mod data;
pub mod exec;
pub mod export;
pub mod graph;
pub mod kernels;
pub mod metric;
pub mod onnx;
pub mod ops;
pub mod pipeline;
mod pixels;
pub mod progress;
pub mod quant;
pub mod report;
pub mod search;
pub mod sensitivity;
pub mod shard;
pub mod tensor;
