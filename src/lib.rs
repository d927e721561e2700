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
//! | [`progress`] | the trait that long work reports to; the library itself never prints |
//! | `pixels` | images from bytes |
//! | [`kernels`] | the hot loops that several operators share; SIMD chosen at run time |
//! | [`ops`] | one table of operators; a file per operator or family, its `eval` the reference |
//! | [`graph`] | nodes and values by id, shape inference, simplification, fused patterns |
//! | [`onnx`] | the only module that sees protobuf: load, upgrade of old opsets, save |
//! | [`exec`] | runs a graph, whole or from changed values on, by the fast engine or the reference; knows nothing of bit-widths |
//! | [`data`] | samples: images, npy/npz, `.pb`, noise; preprocessing; labels; archives of outputs |
//! | [`quant`] | encodings, ranges, targets, groups, calibration, simulation, rounding |
//! | [`cost`] | what a configuration costs |
//! | [`metric`] | how good outputs are, against labels or the float network; a file per metric |
//! | [`sensitivity`] | Phase 1 |
//! | [`search`] | Phase 2 on a `Problem`; knows nothing of networks |
//! | [`artifact`] | the JSON files |
//! | [`pipeline`] | the network behind the `Problem`; "search this model" as one call |
//! | [`export`] | what deployment tools read: QDQ models, encodings, overrides; a file per format |
//! | [`report`] | terminal tables; a result as a page, pictures and tables |
//!
//! `graph` and everything above it know nothing of ONNX files. A result never depends on the clock, on hash
//! order, on the number of threads, on the batch or on the cache. The library never prints, never
//! exits and never reads the environment.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod artifact;
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
pub mod tensor;
