//! What holds of encodings, ranges and groups whatever they are made from.

use std::collections::BTreeSet;

use proptest::prelude::{ProptestConfig, Strategy, any, prop_oneof, proptest};
use proptest::sample::select;

use crate::graph::testing::random::{genes, grow};
use crate::graph::testing::types;
use crate::quant::{
    Bits, Encoding, Groups, Histogram, Placement, Range, RangeMethod, Scheme, Target,
    activation_range, node_macs, weight_range,
};
use crate::tensor::Tensor;

fn bits() -> impl Strategy<Value = Bits> {
    (2_u8..=16).prop_map(|bits| Bits::new(bits).unwrap())
}

fn schemes() -> impl Strategy<Value = Scheme> {
    let narrow = Scheme { narrow: true, ..Scheme::SYMMETRIC };
    let signed = Scheme { signed: true, ..Scheme::UNSIGNED };
    select(vec![Scheme::UNSIGNED, signed, Scheme::SYMMETRIC, narrow])
}

/// Floats of every size, not only near 1.
fn values(most: usize) -> impl Strategy<Value = Vec<f32>> {
    let value = (-1_f32..1., -30_i32..30).prop_map(|(x, exponent)| x * 2_f32.powi(exponent));
    proptest::collection::vec(prop_oneof![value, -4_f32..4.], 1..most)
}

fn whole(values: &[f32]) -> Range {
    let min = values.iter().copied().fold(f32::INFINITY, f32::min);
    let max = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    Range::new(min, max)
}

fn rounded(encoding: &Encoding, values: &[f32]) -> Vec<f32> {
    let mut tensor = Tensor::from_vec(&[values.len()], values.to_vec());
    encoding.fake_quantize(&mut tensor);
    tensor.slice::<f32>().to_vec()
}

fn squared_error(values: &[f32], encoding: &Encoding) -> f64 {
    let pairs = values.iter().zip(rounded(encoding, values));
    pairs.map(|(x, q)| (f64::from(*x) - f64::from(q)).powi(2)).sum()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Zero is exact, what is rounded stays, order stays, and no value of the range is further off
    /// than half a step and what float32 cannot tell apart.
    #[test]
    fn encodings(bits in bits(), scheme in schemes(), mut x in values(60)) {
        let range = whole(&x);
        let encoding = Encoding::new(bits, scheme, None, &[range]);
        assert!(encoding.fits(&[x.len()]));
        x.sort_by(f32::total_cmp);
        let once = rounded(&encoding, &x);
        assert_eq!(rounded(&encoding, &[0.]), [0.]);
        assert_eq!(rounded(&encoding, &once), once);
        assert!(once.windows(2).all(|pair| pair[0] <= pair[1]));
        // The zero point is rounded, so an asymmetric grid may end half a step early.
        let steps = if scheme.symmetric { 0.5 } else { 1. };
        let most = steps * 1.0001 * encoding.scales[0] + 4. * f32::EPSILON * range.max_abs();
        for (x, q) in x.iter().zip(&once) {
            assert!((x - q).abs() <= most, "{x} becomes {q}, scale {}", encoding.scales[0]);
        }
    }

    /// The range of least error is no worse than the whole; percentiles lie inside it and widen.
    #[test]
    fn ranges(bits in bits(), scheme in schemes(), x in values(300), p in 50.5_f64..99.9) {
        let range = |method| weight_range(method, bits, Scheme::SYMMETRIC, &x);
        let error = |method| {
            squared_error(&x, &Encoding::new(bits, Scheme::SYMMETRIC, None, &[range(method)]))
        };
        assert!(error(RangeMethod::Mse) <= error(RangeMethod::MinMax));
        let limits = [p, (p + 100.) / 2., 100.].map(|p| range(RangeMethod::Percentile(p)).max);
        assert!(limits[0] <= limits[1] && limits[1] <= limits[2]);
        assert_eq!(limits[2], range(RangeMethod::MinMax).max);

        let mut histogram = Histogram::default();
        histogram.add(&x);
        let all = activation_range(RangeMethod::MinMax, bits, scheme, &histogram);
        assert_eq!(all, Range::new(whole(&x).min.min(0.), whole(&x).max.max(0.)));
        for method in [RangeMethod::Mse, RangeMethod::Percentile(p)] {
            let found = activation_range(method, bits, scheme, &histogram);
            assert!(found.min <= 0. && 0. <= found.max, "{found:?}");
            // Bins have 7 bits of mantissa, so their ends may be 1/128 outside.
            let within = |found: f32, all: f32| found.abs() <= 1.01 * all.abs() + f32::MIN_POSITIVE;
            assert!(within(found.min, all.min) && within(found.max, all.max), "{found:?}, {all:?}");
        }
    }

    /// Parts of a histogram, in any order, are the whole.
    #[test]
    fn histograms_merge(x in values(300), at in any::<u16>()) {
        let mut all = Histogram::default();
        all.add(&x);
        let (left, right) = x.split_at(usize::from(at) % x.len());
        let mut parts = [Histogram::default(), Histogram::default()];
        parts[0].add(right);
        parts[1].add(left);
        let [mut merged, other] = parts;
        merged.merge(&other);
        assert_eq!(merged.extremes(), all.extremes());
        assert_eq!(merged.bins(), all.bins());
    }

    /// Every quantizer is in one group, all work is counted once, and choices fall.
    #[test]
    fn groups(genes in genes(14), target in 0_usize..16) {
        let graph = grow(&genes);
        let names: Vec<&str> = Target::names().collect();
        let target = Target::built_in(names[target % names.len()]).unwrap();
        let types = types(&graph);
        let placement = Placement::new(&graph, &types, &target);
        let listed = "W8A16,W8A8".parse().unwrap();
        let Ok(groups) = Groups::new(&graph, &types, &placement, &target, &listed, &[]) else {
            // A target may have no candidate for an operator; that is an answer.
            return Ok(());
        };
        let members = |of: fn(&crate::quant::Group) -> Vec<usize>| {
            let all: Vec<usize> = groups.groups.iter().flat_map(of).collect();
            let distinct: BTreeSet<usize> = all.iter().copied().collect();
            assert_eq!(distinct.len(), all.len(), "a member of two groups");
            distinct
        };
        let activations = members(|group| group.activations.iter().map(|id| id.index()).collect());
        let expected = placement.activations.iter().map(|id| id.index());
        assert_eq!(activations, expected.collect::<BTreeSet<_>>());
        assert_eq!(members(|group| group.weights.clone()), (0..placement.weights.len()).collect());
        assert_eq!(members(|group| group.operands.clone()), (0..placement.operands.len()).collect());
        let macs: u64 = graph.nodes().map(|(_, node)| node_macs(&types, node)).sum();
        assert_eq!(groups.macs(), macs);
        for group in &groups.groups {
            assert_eq!(group.id, graph.value_name(group.activations[0]));
            assert!(!group.choices.is_empty());
            let falls = group.choices.windows(2).all(|p| p[1].precision() < p[0].precision());
            assert!(falls, "{:?}", group.choices);
        }
    }
}
