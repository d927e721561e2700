//! All integration tests, one module a topic: linking one binary is faster than many.

#![allow(clippy::unwrap_used)]

mod onnx_reader;
mod quantizer;
mod test_data;
