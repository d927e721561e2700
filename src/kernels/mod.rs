//! The hot loops that several operators share; the SIMD level is chosen at run time.
//!
//! Kernels take plain slices and checked geometry: they index freely and know nothing of attributes
//! or errors. None of them starts a thread.

mod bin_counts;
mod binned_error;
mod blocked;
mod blocked_conv;
mod blocked_depthwise;
mod blocked_move;
mod blocked_pool;
mod blocked_resize;
mod buffer;
mod conv;
mod conv_transpose;
mod depthwise;
mod dispatch;
mod exact;
mod fake_quantize;
mod formulas;
mod gemm;
mod gram;
mod layer_norm;
mod map;
mod math;
mod permute;
mod product;
mod quantization_error;
mod round_softly;
mod simd;
mod softmax;
mod sums;
mod sweep;
mod tile;
mod weighted;
mod window;
mod zip;

pub use bin_counts::BinCounts;
pub use binned_error::{BinArrays, GRIDS, Grids, binned_error};
pub use blocked::{blocked_len, to_blocked, to_plain};
pub use blocked_conv::{BlockedConv, ConvInput};
pub use blocked_depthwise::BlockedDepthwise;
pub use blocked_move::{
    Positions, can_concat, concat_channels, pad_channels, pad_spatial, slice_spatial,
};
pub use blocked_pool::{average_pool, global_average_pool, max_pool};
pub use blocked_resize::{Taps as ResizeTaps, resize};
pub use buffer::Buffer;
pub use conv::{ConvShape, conv};
pub use conv_transpose::conv_transpose;
pub use dispatch::Level;
#[cfg(test)]
pub(crate) use dispatch::at_each_level;
pub use exact::{exact_conv, exact_product};
pub use fake_quantize::{fake_quantize, fake_quantize_per_channel, quantize};
pub use gemm::{Finish, Gemm, pack, packed_len};
pub use gram::{add_gram, unfold_patches, unfold_transposed};
pub use layer_norm::{layer_norm_rows, rms_norm_rows};
pub use map::{Map, map};
pub use permute::permute;
pub use product::add_product;
pub use quantization_error::quantization_error;
pub use round_softly::{SoftStep, SoftWeights, soften, step_softly};
pub use simd::LANES;
pub use softmax::{log_softmax_rows, softmax_rows};
pub use sums::{largest_magnitude, moments, sum, sum_squared_difference, sum_squares};
pub use weighted::{FRACTION_BITS, PixelWindow, weighted_pixels, weighted_row};
pub use window::Axis;
pub use zip::{Operand, Side, Zip, zip_in_place};
