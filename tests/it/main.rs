//! All integration tests, one module a topic: linking one binary is faster than many.

#![allow(clippy::unwrap_used)]

mod cli;
mod digits;
mod layers;
mod look;
mod onnx_reader;
mod quantizer;
mod readme;
mod real_networks;
mod run;
mod test_data;
mod text_model;
