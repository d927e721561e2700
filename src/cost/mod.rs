//! What a configuration costs: [`METRICS`], each a file that says how it is counted.
//!
//! All are of one inference at batch 1. A cost does not rise where bits fall, so it only falls along
//! the walk; `conversions` and their cost may rise, and `latency` where the user's table says so.

mod a16;
mod activations;
mod average_bits;
mod bops;
mod conversions;
mod latency;
#[cfg(test)]
mod random_tests;
mod weights;

use crate::graph::{Graph, Types};
use crate::quant::{Candidate, ConversionPrice, Groups, Placement};

use activations::Lifetimes;
use conversions::Seam;
pub use latency::{CostTable, CostTableError, Latency, MissingRows};
use weights::GroupTensors;

/// Every metric of cost. The one list to extend.
pub const METRICS: &[Metric] = &[
    bops::METRIC,
    weights::METRIC,
    average_bits::METRIC,
    activations::METRIC,
    a16::METRIC,
    latency::METRIC,
    conversions::NUMBER,
    conversions::PRICE,
];

/// One row of the table of metrics.
#[derive(Debug, Clone, Copy)]
pub struct Metric {
    /// In `--budget` and in files.
    pub name: &'static str,
    /// What it is, in a line.
    pub doc: &'static str,
    pub unit: Unit,
    /// Whether it is a sum over groups of what each one's choice costs.
    pub is_sum: bool,
    /// Whether it hangs on the sizes of activations, not on MACs and weights alone.
    pub needs_sizes: bool,
    /// What candidates, one for each group, cost; `None` where it is not known.
    pub of: fn(&CostModel<'_>, &[Candidate]) -> Option<f64>,
}

/// How values of a metric are stated.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Unit {
    /// With one of these units, each with its size; a number without one is a fraction.
    Scaled(&'static [(&'static str, f64)]),
    /// As a number from 0 to `most`.
    Plain { most: f64 },
}

const BYTES: &[(&str, f64)] = &[
    ("B", 1.),
    ("kB", 1e3),
    ("KB", 1e3),
    ("MB", 1e6),
    ("GB", 1e9),
    ("TB", 1e12),
    ("KiB", 1024.),
    ("MiB", 1_048_576.),
    ("GiB", 1_073_741_824.),
    ("TiB", 1_099_511_627_776.),
];

/// What one configuration costs, in what can be counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cost {
    pub macs: u64,
    pub bops: u64,
    pub weight_bytes: u64,
    pub activation_bytes: u64,
    pub conversions: u64,
}

/// Costs of configurations of one network.
#[derive(Debug)]
pub struct CostModel<'a> {
    groups: &'a Groups,
    macs: u64,
    /// By group.
    tensors: Vec<GroupTensors>,
    /// By group: elements of its activations.
    elements: Vec<u64>,
    lifetimes: Lifetimes,
    seams: Vec<Seam>,
    prices: &'a [ConversionPrice],
    latency: Option<Latency>,
}

impl<'a> CostModel<'a> {
    /// `per_channel`: whether a weight has a scale per output channel.
    pub fn new(
        graph: &Graph,
        types: &Types,
        placement: &Placement,
        groups: &'a Groups,
        per_channel: bool,
    ) -> CostModel<'a> {
        let group_of = group_of_values(graph, placement, groups);
        CostModel {
            groups,
            macs: groups.macs(),
            tensors: weights::tensors(graph, placement, groups, per_channel),
            elements: a16::elements(types, groups),
            seams: conversions::seams(graph, types, placement, &group_of),
            lifetimes: Lifetimes::new(graph, types, placement, &group_of),
            prices: &[],
            latency: None,
        }
    }

    /// The same that knows how long units take.
    pub fn with_latency(self, latency: Option<Latency>) -> CostModel<'a> {
        CostModel { latency, ..self }
    }

    /// # Panics
    /// If there is not a candidate for each group.
    pub fn cost(&self, candidates: &[Candidate]) -> Cost {
        Cost {
            macs: self.macs,
            bops: self.bops(candidates),
            weight_bytes: self.weight_bytes(candidates),
            activation_bytes: self.activation_bytes(candidates),
            conversions: self.conversions(candidates),
        }
    }
}

/// Every group at one candidate; a group that may not take it gets the nearest more precise one.
pub fn uniform(groups: &Groups, candidate: Candidate) -> Vec<Candidate> {
    let of_group = |group: &crate::quant::Group| {
        let wanted = unpinned(group, candidate);
        // Choices are in order of precision, the most precise first.
        let nearest = group.choices.iter().rev().find(|choice| wanted.is_within(choice));
        *nearest.unwrap_or(&group.choices[0])
    };
    groups.groups.iter().map(of_group).collect()
}

/// Every group at one candidate, whether it may take it or not: what budgets are fractions of.
pub fn unrestricted(groups: &Groups, candidate: Candidate) -> Vec<Candidate> {
    groups.groups.iter().map(|group| unpinned(group, candidate)).collect()
}

fn unpinned(group: &crate::quant::Group, candidate: Candidate) -> Candidate {
    let weight = candidate.weight.filter(|_| group.has_weights());
    Candidate { weight, ..candidate }
}

/// For every value the group of the activation whose encoding it carries.
fn group_of_values(graph: &Graph, placement: &Placement, groups: &Groups) -> Vec<Option<usize>> {
    let mut group_of = vec![None; graph.n_values()];
    for (index, group) in groups.groups.iter().enumerate() {
        for activation in &group.activations {
            group_of[activation.index()] = Some(index);
        }
    }
    let root_group = |value| {
        placement.root(value).and_then(|root: crate::graph::ValueId| group_of[root.index()])
    };
    graph.value_ids().map(root_group).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::testing::{net, types};
    use crate::ops::AttrValue;
    use crate::quant::{Pin, Target};

    /// The cost of a configuration given as `x=W8A8 y=A16`, in the order of the groups.
    fn cost(graph: &Graph, candidates: &[&str]) -> Cost {
        let target = Target::built_in("generic").unwrap();
        let types = types(graph);
        let placement = Placement::new(graph, &types, &target);
        let listed = "W8A16".parse().unwrap();
        let groups = Groups::new(graph, &types, &placement, &target, &listed, &[]).unwrap();
        let candidates: Vec<Candidate> = candidates.iter().map(|c| c.parse().unwrap()).collect();
        CostModel::new(graph, &types, &placement, &groups, true).cost(&candidates)
    }

    fn conv() -> Graph {
        net(&[("x", &[1, 3, 8, 8])])
            .weight("w", &[4, 3, 3, 3])
            .node("Conv", &["x", "w"], "conv")
            .node("Relu", &["conv"], "y")
            .outputs(&["y"])
    }

    #[test]
    fn counted_by_hand() {
        // 4 channels x 6 x 6 outputs x 27 products; 108 weights in 4 channels; 192 and 144 values.
        let macs = 4 * 36 * 27;
        for (candidates, bops, weight_bytes, activation_bytes, conversions) in [
            (["W8A8", "A8"], macs * 64, 108 + 4 * 4 + 4, 192 + 144, 0),
            (["W4A8", "A16"], macs * 32, 54 + 4 * 4 + 2, 192 + 2 * 144, 1),
            (["W32A32", "A32"], macs * 1024, 108 * 4, 4 * (192 + 144), 0),
            (["W3A8", "A8"], macs * 24, 41 + 4 * 4 + 2, 192 + 144, 0),
        ] {
            let expected = Cost { macs, bops, weight_bytes, activation_bytes, conversions };
            assert_eq!(cost(&conv(), &candidates), expected, "{candidates:?}");
        }
    }

    #[test]
    fn products_of_activations_count_their_bits_twice() {
        let graph = net(&[("q", &[1, 4, 8]), ("k", &[1, 8, 4])])
            .node("MatMul", &["q", "k"], "y")
            .outputs(&["y"]);
        let cost = cost(&graph, &["A8", "A16"]);
        assert_eq!((cost.macs, cost.bops, cost.weight_bytes), (128, 128 * 64, 0));
    }

    /// The two directions share the scales of `w` and of `r`; an output left out changes nothing.
    #[test]
    fn weights_of_two_directions() {
        for outputs in [["y", "h"], ["", "y"]] {
            let graph = net(&[("x", &[5, 1, 3])])
                .weight("w", &[2, 16, 3])
                .weight("r", &[2, 16, 4])
                .node("LSTM", &["x", "w", "r"], outputs[0])
                .also(outputs[1])
                .attr("direction", AttrValue::String("bidirectional".to_owned()))
                .outputs(&["y"]);
            let macs = 5 * 2 * 16 * (3 + 4);
            let cost = cost(&graph, &["W4A8", "A8"]);
            assert_eq!((cost.macs, cost.bops), (macs, macs * 32));
            let scales = 16 * 4 + 8;
            assert_eq!(cost.weight_bytes, 2 * 16 * 3 / 2 + scales + 2 * 16 * 4 / 2 + scales);
        }
    }

    #[test]
    fn operands_count_at_the_bits_of_the_activation() {
        let graph = net(&[("x", &[1, 10])])
            .weight("position", &[1, 10])
            .node("Add", &["x", "position"], "y")
            .outputs(&["y"]);
        assert_eq!(cost(&graph, &["A8", "A8"]).weight_bytes, 10 + 4 + 1);
        assert_eq!(cost(&graph, &["A16", "A8"]).weight_bytes, 20 + 4 + 2);
    }

    /// The costs of a configuration of [`conv`], then of a Sigmoid, by name.
    fn costs(candidates: [&str; 3]) -> Vec<(&'static str, f64)> {
        let graph = net(&[("x", &[1, 3, 8, 8])])
            .weight("w", &[4, 3, 3, 3])
            .node("Conv", &["x", "w"], "conv")
            .node("Sigmoid", &["conv"], "s")
            .node("Neg", &["s"], "y")
            .outputs(&["y"]);
        let target = Target { fused: Vec::new(), ..Target::built_in("generic").unwrap() };
        let types = types(&graph);
        let placement = Placement::new(&graph, &types, &target);
        let listed = "W8A16".parse().unwrap();
        let groups = Groups::new(&graph, &types, &placement, &target, &listed, &[]).unwrap();
        let [x, conv, s] = candidates.map(|candidate| candidate.parse().unwrap());
        let model = CostModel::new(&graph, &types, &placement, &groups, true);
        let of = |metric: &Metric| Some((metric.name, (metric.of)(&model, &[x, conv, s, s])?));
        METRICS.iter().filter_map(of).collect()
    }

    #[test]
    fn metrics_counted_by_hand() {
        let cost = |candidates, name: &str| {
            let costs = costs(candidates).into_iter();
            costs.filter(|(found, _)| *found == name).map(|(_, cost)| cost).next()
        };
        // 192 elements are put in; what the three operators make has 144 each.
        for (candidates, average_bits, a16, conversions) in [
            (["W8A8", "A8", "A8"], 8., 0., 0.),
            (["W4A8", "A8", "A16"], 6., 288. / 624., 1.),
            (["W8A16", "A8", "A32"], 12., 480. / 624., 2.),
            (["W32A32", "A12", "A12"], 32., 192. / 624., 1.),
        ] {
            assert_eq!(cost(candidates, "average-bits"), Some(average_bits), "{candidates:?}");
            assert_eq!(cost(candidates, "a16"), Some(a16), "{candidates:?}");
            assert_eq!(cost(candidates, "conversions"), Some(conversions), "{candidates:?}");
            assert_eq!(cost(candidates, "latency"), None, "there is no table");
        }
    }

    #[test]
    fn conversions_are_priced_by_the_target() {
        let graph = net(&[("x", &[1, 3, 8, 8])])
            .weight("w", &[4, 3, 3, 3])
            .node("Conv", &["x", "w"], "conv")
            .node("Sigmoid", &["conv"], "y")
            .outputs(&["y"]);
        let target = Target { fused: Vec::new(), ..Target::built_in("generic").unwrap() };
        let types = types(&graph);
        let placement = Placement::new(&graph, &types, &target);
        let listed = "W8A16".parse().unwrap();
        let groups = Groups::new(&graph, &types, &placement, &target, &listed, &[]).unwrap();
        let model = || CostModel::new(&graph, &types, &placement, &groups, true);
        let prices = r#"[{"from":16,"to":8,"each":7},{"each":1,"per_element":0.5}]"#;
        let prices: Vec<ConversionPrice> = serde_json::from_str(prices).unwrap();
        // The convolution and the Sigmoid make 144 values each.
        for (candidates, expected) in [
            (["W8A16", "A16", "A16"], 0.),
            (["W8A16", "A8", "A8"], 7.),
            (["W8A8", "A16", "A16"], 1. + 72.),
            (["W8A16", "A8", "A16"], 7. + 1. + 72.),
            (["W8A8", "A8", "A32"], 1. + 72.),
        ] {
            let candidates = candidates.map(|candidate| candidate.parse().unwrap());
            let cost = model().with_prices(&prices).conversion_cost(&candidates);
            assert_eq!(cost, Some(expected), "{candidates:?}");
            assert_eq!(model().conversion_cost(&candidates), None);
        }
    }

    /// Of all metrics but conversions, which the walk therefore does not rely on.
    #[test]
    fn costs_do_not_rise_where_bits_fall() {
        let weighted = ["W16A16", "W8A16", "W8A8", "W4A8", "W3A5"];
        let others = ["A32", "A16", "A8", "A5"];
        for (above, x) in weighted.iter().zip(&weighted[1..]) {
            for (conv_above, conv) in others.iter().zip(&others[1..]) {
                let rows = [[above, conv_above], [x, conv_above], [above, conv], [x, conv]];
                let [top, left, right, bottom] = rows.map(|[x, conv]| costs([*x, *conv, "A8"]));
                for (before, after) in
                    [(&top, &left), (&top, &right), (&left, &bottom), (&right, &bottom)]
                {
                    for ((name, before), (_, after)) in before.iter().zip(after) {
                        let may_rise = *name == "conversions";
                        assert!(may_rise || after <= before, "{name}: {before} to {after}");
                    }
                }
            }
        }
        let conversions = |candidates| costs(candidates).last().unwrap().1;
        assert!(conversions(["W8A16", "A16", "A16"]) < conversions(["W8A16", "A8", "A16"]));
    }

    #[test]
    fn what_is_dead_takes_no_memory() {
        // x lives until the Add; the first Relu's output dies when the second is made.
        let graph = net(&[("x", &[1, 100])])
            .node("Relu", &["x"], "a")
            .node("Sigmoid", &["a"], "b")
            .node("Concat", &["b", "x"], "y")
            .attr("axis", AttrValue::Int(1))
            .outputs(&["y"]);
        assert_eq!(cost(&graph, &["A8", "A8", "A8"]).activation_bytes, 100 + 100 + 200);
    }

    #[test]
    fn uniform_takes_the_nearest_more_precise_where_it_must() {
        let graph = conv();
        let target = Target::built_in("generic").unwrap();
        let types = types(&graph);
        let placement = Placement::new(&graph, &types, &target);
        let listed = "W4A8,W8A8,W8A16".parse().unwrap();
        let pins = [Pin::of_text("y=A16")];
        let groups = Groups::new(&graph, &types, &placement, &target, &listed, &pins).unwrap();
        let text = |candidates: Vec<Candidate>| {
            candidates.iter().map(Candidate::to_string).collect::<Vec<_>>().join(" ")
        };
        let w4a8 = "W4A8".parse().unwrap();
        assert_eq!(text(uniform(&groups, w4a8)), "W4A8 A16");
        assert_eq!(text(uniform(&groups, "W4A16".parse().unwrap())), "W8A16 A16");
        assert_eq!(text(unrestricted(&groups, w4a8)), "W4A8 A8");
    }
}
