//! [`Window`]: the attributes of sliding windows, shared by convolutions and pools.

use crate::kernels::Axis;
use crate::ops::{Attrs, OpError};

/// Of a pool's window, which is no larger in a file for being larger: 2048 x 2048.
const MOST_POSITIONS: usize = 1 << 22;

/// Where the padding comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AutoPad {
    NotSet,
    /// As many outputs as `ceil(input / stride)`; an odd element of padding goes to the end.
    SameUpper,
    /// The same with the odd element at the beginning.
    SameLower,
    Valid,
}

impl AutoPad {
    pub(super) fn read(attrs: &mut Attrs) -> Result<AutoPad, OpError> {
        let choices = [
            ("NOTSET", AutoPad::NotSet),
            ("SAME_UPPER", AutoPad::SameUpper),
            ("SAME_LOWER", AutoPad::SameLower),
            ("VALID", AutoPad::Valid),
        ];
        attrs.choice("auto_pad", &choices)
    }

    /// `total` elements of padding, before and after.
    pub(super) fn split(self, total: usize) -> [usize; 2] {
        let half = total / 2;
        match self {
            AutoPad::SameUpper => [half, total - half],
            _ => [total - half, half],
        }
    }
}

/// Attributes; a list that is absent stands for its defaults.
#[derive(Debug)]
pub(super) struct Window {
    pub(super) kernel_shape: Option<Vec<usize>>,
    pub(super) strides: Option<Vec<usize>>,
    pub(super) dilations: Option<Vec<usize>>,
    pub(super) pads: Option<Vec<usize>>,
    pub(super) auto_pad: AutoPad,
    /// Whether a last window that sticks out of the padding counts.
    pub(super) ceil_mode: bool,
}

impl Window {
    /// Every list absent.
    pub(super) const UNSET: Window = Window {
        kernel_shape: None,
        strides: None,
        dilations: None,
        pads: None,
        auto_pad: AutoPad::NotSet,
        ceil_mode: false,
    };

    pub(super) fn read(attrs: &mut Attrs) -> Result<Window, OpError> {
        Ok(Window {
            kernel_shape: attrs.opt_sizes("kernel_shape", 1)?,
            strides: attrs.opt_sizes("strides", 1)?,
            dilations: attrs.opt_sizes("dilations", 1)?,
            pads: attrs.opt_sizes("pads", 0)?,
            auto_pad: AutoPad::read(attrs)?,
            ..Window::UNSET
        })
    }

    /// For a pool, where `kernel_shape` is required and `ceil_mode` exists.
    pub(super) fn read_pool(attrs: &mut Attrs) -> Result<Window, OpError> {
        let window = Window { ceil_mode: attrs.flag("ceil_mode", false)?, ..Window::read(attrs)? };
        if window.kernel_shape.is_none() {
            return Err(OpError::MissingAttribute { name: "kernel_shape".to_owned() });
        }
        Ok(window)
    }

    /// The kernel of a pool over `rank` spatial axes.
    pub(super) fn kernel(&self, rank: usize) -> Result<Vec<usize>, OpError> {
        let kernel = sizes("kernel_shape", &self.kernel_shape, rank, 1)?;
        let positions = kernel.iter().fold(1, |product: usize, &size| product.saturating_mul(size));
        if MOST_POSITIONS < positions {
            let supported = format!("at most {MOST_POSITIONS} positions");
            return Err(OpError::attribute("kernel_shape", format!("{kernel:?}"), supported));
        }
        Ok(kernel)
    }

    /// The kernel that a weight has; `kernel_shape` has to agree.
    pub(super) fn check_kernel(&self, weight: &[usize]) -> Result<(), OpError> {
        match &self.kernel_shape {
            Some(found) if found != weight => Err(OpError::invalid_attribute(
                "kernel_shape",
                format!("{found:?}"),
                format!("{weight:?}, that of `W`"),
            )),
            _ => Ok(()),
        }
    }

    pub(super) fn strides(&self, rank: usize) -> Result<Vec<usize>, OpError> {
        sizes("strides", &self.strides, rank, 1)
    }

    pub(super) fn dilations(&self, rank: usize) -> Result<Vec<usize>, OpError> {
        sizes("dilations", &self.dilations, rank, 1)
    }

    /// Padding before and after each axis, as far as it is given.
    pub(super) fn pads(&self, rank: usize) -> Result<Vec<[usize; 2]>, OpError> {
        let pads = sizes("pads", &self.pads, 2 * rank, 0)?;
        Ok((0..rank).map(|axis| [pads[axis], pads[axis + rank]]).collect())
    }

    /// The geometry over an input of spatial shape `input`, of at most three axes.
    pub(super) fn axes(&self, input: &[usize], kernel: &[usize]) -> Result<[Axis; 3], OpError> {
        let mut axes = [Axis::UNIT; 3];
        axes[3 - input.len()..].copy_from_slice(&self.axis_list(input, kernel)?);
        Ok(axes)
    }

    /// The same for any number of axes.
    pub(super) fn axis_list(
        &self,
        input: &[usize],
        kernel: &[usize],
    ) -> Result<Vec<Axis>, OpError> {
        let rank = input.len();
        let (strides, dilations) = (self.strides(rank)?, self.dilations(rank)?);
        let pads = self.pads(rank)?;
        let axis = |i: usize| {
            let (kernel, stride, dilation) = (kernel[i], strides[i], dilations[i]);
            let output = 0;
            Axis { input: input[i], output, kernel, stride, dilation, pads: pads[i] }
        };
        (0..rank).map(|i| self.slide(axis(i))).collect()
    }

    /// The axis with its padding and number of outputs.
    fn slide(&self, mut axis: Axis) -> Result<Axis, OpError> {
        let extent = extent(axis.kernel, axis.dilation)?;
        match self.auto_pad {
            AutoPad::NotSet => {}
            AutoPad::Valid => axis.pads = [0, 0],
            AutoPad::SameUpper | AutoPad::SameLower => {
                let last = axis.input.div_ceil(axis.stride).saturating_sub(1) * axis.stride;
                axis.pads = self.auto_pad.split((last + extent).saturating_sub(axis.input));
            }
        }
        let [before, after] = axis.pads;
        let padded =
            checked(before.checked_add(after).and_then(|pads| pads.checked_add(axis.input)))?;
        let too_short = || {
            OpError::shape(
                "X",
                &[axis.input],
                format!("at least {extent} along each axis, padding included, to fit a window"),
            )
        };
        if self.ceil_mode {
            // As if the input were longer by less than a stride.
            let slack = (padded + axis.stride - 1).checked_sub(extent).ok_or_else(too_short)?;
            axis.output = slack / axis.stride + 1;
            // A window must start in the input or the padding before it.
            if axis.input + before <= (axis.output - 1) * axis.stride {
                axis.output -= 1;
            }
        } else {
            axis.output = padded.checked_sub(extent).ok_or_else(too_short)? / axis.stride + 1;
        }
        Ok(axis)
    }
}

/// `(kernel - 1) * dilation + 1`
pub(super) fn extent(kernel: usize, dilation: usize) -> Result<usize, OpError> {
    checked((kernel - 1).checked_mul(dilation).and_then(|span| span.checked_add(1)))
}

/// Sizes far beyond any memory are refused, so that sums of a few cannot overflow.
pub(super) fn checked(size: Option<usize>) -> Result<usize, OpError> {
    let too_large = || OpError::TooLarge { found: "2^48 or more".to_owned() };
    size.filter(|&size| size < 1 << 48).ok_or_else(too_large)
}

/// The list, or `n` times its default.
fn sizes(
    name: &str,
    list: &Option<Vec<usize>>,
    n: usize,
    default: usize,
) -> Result<Vec<usize>, OpError> {
    match list {
        None => Ok(vec![default; n]),
        Some(list) if list.len() == n => Ok(list.clone()),
        Some(list) => {
            let expected = format!("{n} values for this input");
            Err(OpError::invalid_attribute(name, format!("{list:?}"), expected))
        }
    }
}
