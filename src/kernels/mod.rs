//! The hot loops that several operators share; the SIMD level is chosen at run time.
//!
//! Kernels take plain slices and checked geometry: they index freely and know nothing of attributes
//! or errors. None of them starts a thread.

mod bin_counts;
mod binned_error;
mod conv;
mod conv_transpose;
mod depthwise;
mod dispatch;
mod exact;
mod fake_quantize;
mod product;
mod quantization_error;
mod sums;
mod weighted;
mod window;

pub use bin_counts::BinCounts;
pub use binned_error::{BinArrays, GRIDS, Grids, binned_error};
pub use conv::{ConvShape, conv};
pub use conv_transpose::conv_transpose;
pub use dispatch::Level;
pub use exact::{exact_conv, exact_product};
pub use fake_quantize::{fake_quantize, fake_quantize_per_channel, quantize};
pub use product::add_product;
pub use quantization_error::quantization_error;
pub use sums::{largest_magnitude, moments, sum, sum_squared_difference, sum_squares};
pub use weighted::{FRACTION_BITS, PixelWindow, weighted_pixels, weighted_row};
pub use window::Axis;
