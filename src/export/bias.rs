//! [`Bias`]: a bias as integers whose scale is the product of those of activation and weight.

use crate::graph::{NodeId, ValueId};
use crate::ops::AttrValue;
use crate::pipeline::Configured;

/// Calibration raises the scales of weights until their biases just fit; the rounding of the product
/// of scales may take one beyond the end of int32 by this much, where it saturates.
const MOST: f64 = i32::MAX as f64 * 1.000_001;

/// Int32 integers with zero point 0.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Bias {
    pub(super) value: ValueId,
    /// One, or one an element.
    pub(super) scales: Vec<f32>,
    pub(super) integers: Vec<i32>,
}

impl Bias {
    /// That of a node; `None` where there is none, or where it stays float: the elements have no
    /// product of scales, or int32 does not hold the integers.
    pub(super) fn of(net: &Configured, id: NodeId) -> Option<Bias> {
        let (node, role) = (net.graph.node(id), net.placement.role(id));
        let value = node.input(role.bias?).filter(|bias| !net.constants.contains_key(bias))?;
        let tensor = net.graph.constant(value)?.tensor();
        let elements = tensor.try_slice::<f32>()?;
        let is_scaled = |name| !matches!(node.attr(name), None | Some(AttrValue::Float(1.)));
        let &[(_, _, x)] = net.reads(id).as_slice() else { return None };
        let [weight] = role.weights.as_slice() else { return None };
        let weight = node.input(weight.input)?;
        let scales = &net.constants.get(&weight)?.scales;
        let fits = scales.len() == 1 || (scales.len() == elements.len() && tensor.rank() == 1);
        if !fits || is_scaled("alpha") || is_scaled("beta") {
            return None;
        }
        let scales: Vec<f32> = scales.iter().map(|scale| scale * x.scales[0]).collect();
        let is_normal = scales.iter().all(|scale| f32::MIN_POSITIVE <= *scale);
        let integer = |(index, &b): (usize, &f32)| {
            let q = (f64::from(b) / f64::from(scales[index % scales.len()])).round_ties_even();
            (q.abs() <= MOST).then_some(q as i32)
        };
        let integers: Option<Vec<i32>> = elements.iter().enumerate().map(integer).collect();
        Some(Bias { value, integers: integers.filter(|_| is_normal)?, scales })
    }
}
