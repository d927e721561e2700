//! [`Conversion`]: where activations of different widths meet, and what is done there.
//!
//! A unit computes in the widest of the widths that it reads and makes. What it reads in a narrower
//! one is widened before: its integers and its scale stay as they are. What it makes in a narrower
//! one is rounded to the wide grid first and then narrowed. The steps of the wide grid are an odd
//! part of those of the narrow one, `(2^wide - 1) / (2^narrow - 1)`, so that a tie of the narrow grid
//! is one of the wide grid as well, and rounding twice gives what rounding once gives.

use crate::export::container::Container;
use crate::graph::{NodeId, ValueId};
use crate::pipeline::Configured;
use crate::quant::Encoding;

/// One activation in two widths.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Conversion {
    pub(super) value: ValueId,
    /// The first node of the unit that it is for.
    pub(super) unit: NodeId,
    pub(super) kind: Kind,
    /// The other width: that of the file is the encoding's own.
    pub(super) wide: Wide,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Kind {
    /// These nodes read it in the wide type.
    Widen { readers: Vec<NodeId> },
    /// It is made in the wide type.
    Narrow,
}

/// Scale and zero point of integers of a wider type.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Wide {
    pub(super) container: Container,
    pub(super) scale: f32,
    pub(super) zero_point: i32,
}

/// All of them, in the order of the units.
pub(super) fn conversions(net: &Configured, opset: u16) -> Vec<Conversion> {
    let units = net.placement.units.iter();
    units.flat_map(|unit| of_unit(net, &unit.nodes, unit.output, opset)).collect()
}

fn of_unit(net: &Configured, nodes: &[NodeId], output: ValueId, opset: u16) -> Vec<Conversion> {
    let Some(made) = net.activations.get(&output) else { return Vec::new() };
    let mut reads: Vec<(ValueId, &Encoding, Vec<NodeId>)> = Vec::new();
    for &id in nodes {
        for (_, value, encoding) in net.reads(id) {
            match reads.iter_mut().find(|(known, _, _)| *known == value) {
                Some((_, _, readers)) if readers.contains(&id) => {}
                Some((_, _, readers)) => readers.push(id),
                None => reads.push((value, encoding, vec![id])),
            }
        }
    }
    let bits = |encoding: &Encoding| Container::of(encoding, opset).bits;
    let all = reads.iter().map(|(_, encoding, _)| bits(encoding));
    let Some(widest) = all.max().map(|read| read.max(bits(made))) else { return Vec::new() };
    let unit = nodes[0];
    let mut found = Vec::new();
    for (value, encoding, readers) in reads {
        if bits(encoding) < widest {
            let container = Container { bits: widest, ..Container::of(encoding, opset) };
            let (scale, zero_point) = (encoding.scales[0], encoding.zero_points[0]);
            let wide = Wide { container, scale, zero_point };
            found.push(Conversion { value, unit, kind: Kind::Widen { readers }, wide });
        }
    }
    if bits(made) < widest {
        let wide = finer(made, Container::of(made, opset), widest);
        found.push(Conversion { value: output, unit, kind: Kind::Narrow, wide });
    }
    found
}

/// The grid that spans what all integers of `narrow` do, in steps that are an odd part of its.
fn finer(encoding: &Encoding, narrow: Container, bits: u8) -> Wide {
    let container = Container { bits, ..narrow };
    let ratio = ((1 << bits) - 1) / ((1 << narrow.bits) - 1);
    let ((narrow_min, _), (wide_min, _)) = (narrow.limits(), container.limits());
    let zero_point = ratio * (encoding.zero_points[0] - narrow_min) + wide_min;
    let scale = (f64::from(encoding.scales[0]) / f64::from(ratio)) as f32;
    Wide { container, scale, zero_point }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quant::{Bits, Range, Scheme};

    #[test]
    fn rounding_twice_is_rounding_once() {
        let signed = Scheme { signed: true, ..Scheme::UNSIGNED };
        for (scheme, [narrow, wide]) in [Scheme::UNSIGNED, signed]
            .into_iter()
            .flat_map(|scheme| [[8, 16], [4, 8], [4, 16]].map(|pair| (scheme, pair)))
        {
            let bits = Bits::new(narrow).unwrap();
            let encoding = Encoding::new(bits, scheme, None, &[Range::new(-1.3, 2.9)]);
            let container = Container { bits: narrow, signed: scheme.signed };
            let finer = finer(&encoding, container, wide);
            let finer = Encoding {
                bits: Bits::new(wide).unwrap(),
                scales: vec![finer.scale],
                zero_points: vec![finer.zero_point],
                ..encoding.clone()
            };
            let x: Vec<f32> = (0..40_000).map(|i| -2. + 0.000_137 * i as f32).collect();
            let (mut once, mut twice) = (x.clone(), x.clone());
            encoding.fake_quantize_slice(&mut once);
            finer.fake_quantize_slice(&mut twice);
            encoding.fake_quantize_slice(&mut twice);
            let differ = once.iter().zip(&twice).filter(|(a, b)| a != b).count();
            // Within the rounding of the finer scale of a tie.
            assert!(differ <= 2, "{differ} of {}, {narrow} to {wide}", x.len());
        }
    }
}
