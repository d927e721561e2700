//! The protobuf messages of ONNX (IR version 14): `onnx.proto` from the `onnx` 1.23.2 package, and
//! what prost makes of it. Every `bytes` field is a slice of the buffer it was decoded from.
//!
//! To regenerate, in a crate that depends on prost-build 0.14, with `protoc` on the path:
//! `prost_build::Config::new().bytes(["."]).disable_comments(["."]).out_dir("src/onnx/proto")`
//! `    .compile_protos(&["src/onnx/proto/onnx.proto"], &["src/onnx/proto"])`

#[rustfmt::skip]
#[allow(clippy::all, clippy::as_conversions, clippy::unwrap_used, unreachable_pub)]
mod onnx;

pub use onnx::*;
