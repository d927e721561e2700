//! All integration tests, one module a topic: linking one binary is faster than many.

#![allow(clippy::unwrap_used)]

mod cli;
#[cfg(unix)]
mod cluster;
mod digits;
mod fuzzed;
mod layers;
mod look;
mod onnx_reader;
mod quantizer;
mod readme;
mod real_networks;
mod run;
mod subgraphs;
mod test_data;
mod text_model;
