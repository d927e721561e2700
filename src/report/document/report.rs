//! [`Report`]: a configuration with the numbers that its file only implies.

use crate::artifact::{Config, Group, TotalCost};
use crate::quant::{Bits, Candidate};
use crate::report::search::is_measured;

/// A result, ready to be shown.
#[derive(Debug, Clone, PartialEq)]
pub struct Report<'a> {
    pub(super) config: &'a Config,
    /// Whether an SQNR that is null is no noise, instead of not measured.
    pub(super) is_measured: bool,
    /// The most precise listed candidate: what "before" is.
    pub(super) full: Candidate,
    /// In the order of the groups.
    pub(super) costs: Vec<BeforeAfter>,
    pub(super) total: BeforeAfter,
    /// What no group has: work that is left in float, and bytes of constant operands.
    pub(super) rest: BeforeAfter,
    /// `None` where the file does not tell what every group has at every point.
    pub(super) walk: Option<Walk>,
}

/// What something costs at the most precise candidate, and as it was chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct BeforeAfter {
    pub(super) bops: [u64; 2],
    pub(super) bytes: [u64; 2],
}

impl BeforeAfter {
    pub(super) fn plus(self, other: BeforeAfter) -> BeforeAfter {
        let sums = |a: [u64; 2], b: [u64; 2]| [0, 1].map(|at| a[at].saturating_add(b[at]));
        BeforeAfter { bops: sums(self.bops, other.bops), bytes: sums(self.bytes, other.bytes) }
    }

    fn minus(self, other: BeforeAfter) -> BeforeAfter {
        let rest = |a: [u64; 2], b: [u64; 2]| [0, 1].map(|at| a[at].saturating_sub(b[at]));
        BeforeAfter { bops: rest(self.bops, other.bops), bytes: rest(self.bytes, other.bytes) }
    }
}

/// The configurations of a curve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Walk {
    /// Every candidate that is chosen anywhere, most precise first.
    pub(super) candidates: Vec<Candidate>,
    /// By group, of the first point: indices into `candidates`.
    pub(super) start: Vec<usize>,
    /// From each point to the next: a group and its new candidate.
    pub(super) flips: Vec<(usize, usize)>,
}

impl<'a> Report<'a> {
    pub fn new(config: &'a Config) -> Report<'a> {
        let float = Candidate::pair(Bits::FLOAT, Bits::FLOAT);
        let full = config.candidates.first().copied().unwrap_or(float);
        let costs: Vec<_> = config.groups.iter().map(|group| cost(config, group, full)).collect();
        let sum = costs.iter().fold(BeforeAfter::default(), |sum, cost| sum.plus(*cost));
        let total = total(&config.cost, sum);
        let rest = total.minus(sum);
        let is_measured = is_measured(config);
        Report { config, is_measured, full, costs, total, rest, walk: Walk::new(config) }
    }

    /// Groups by their cost before, the most expensive first.
    pub(super) fn most_expensive(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.costs.len()).collect();
        order.sort_by_key(|&at| {
            let cost = &self.costs[at];
            std::cmp::Reverse((cost.bops[0], cost.bytes[0]))
        });
        order
    }

    /// How often each candidate is there, most precise first.
    pub(super) fn counts(candidates: impl Iterator<Item = Candidate>) -> Vec<(Candidate, usize)> {
        let mut counts: Vec<(Candidate, usize)> = Vec::new();
        for candidate in candidates {
            match counts.iter_mut().find(|(known, _)| *known == candidate) {
                Some((_, n)) => *n += 1,
                None => counts.push((candidate, 1)),
            }
        }
        counts.sort_by_key(|&(candidate, _)| order(candidate));
        counts
    }
}

/// Most precise first, those without weights last.
fn order(candidate: Candidate) -> impl Ord {
    let Candidate { weight, activation } = candidate;
    std::cmp::Reverse((weight.is_some(), candidate.product(), weight, activation))
}

fn cost(config: &Config, group: &Group, full: Candidate) -> BeforeAfter {
    let has_weights = !group.weights.is_empty();
    let full = Candidate { weight: full.weight.filter(|_| has_weights), ..full };
    // What is left in float has no scales.
    let encodings = group.weights.iter().filter_map(|name| config.encodings.weights.get(name));
    let n_scales = encodings.map(|encoding| encoding.scale.len() as u64).sum();
    BeforeAfter {
        bops: [full, group.candidate].map(|candidate| bops(group, candidate)),
        bytes: [full, group.candidate]
            .map(|candidate| weight_bytes(group.weight_elements, n_scales, candidate.weight)),
    }
}

fn bops(group: &Group, candidate: Candidate) -> u64 {
    let bits = |bits: Bits| u64::from(bits.get());
    let (weight, activation) = (candidate.weight.unwrap_or(Bits::FLOAT), candidate.activation);
    let products = group.product_macs.min(group.macs);
    let with_weights = (group.macs - products).saturating_mul(bits(weight) * bits(activation));
    with_weights.saturating_add(products.saturating_mul(bits(activation) * bits(activation)))
}

/// Packed, each scale in 4 bytes with a zero point of the weight's width.
fn weight_bytes(elements: u64, n_scales: u64, bits: Option<Bits>) -> u64 {
    let Some(bits) = bits else { return 0 };
    let packed = |n: u64| n.saturating_mul(u64::from(bits.get())).div_ceil(8);
    if bits.is_float() {
        return packed(elements);
    }
    packed(elements).saturating_add(packed(n_scales)).saturating_add(n_scales.saturating_mul(4))
}

/// As the file tells: its relative costs are fractions of what it was before.
fn total(cost: &TotalCost, sum: BeforeAfter) -> BeforeAfter {
    let before = |after: u64, relative: Option<f64>, sum: u64| match relative {
        Some(relative) if 0. < relative => (after as f64 / relative).round() as u64,
        _ => sum.max(after),
    };
    let bops = before(cost.bops, cost.relative_bops, sum.bops[0]);
    let bytes = before(cost.weight_bytes, cost.relative_weight_bytes, sum.bytes[0]);
    BeforeAfter { bops: [bops, cost.bops], bytes: [bytes, cost.weight_bytes] }
}

impl Walk {
    /// `None` where a step changes several groups at once, or the file contradicts itself.
    fn new(config: &Config) -> Option<Walk> {
        let (first, rest) = config.curve.split_first()?;
        if first.flip.is_some() {
            return None;
        }
        let group = |id: &str| config.groups.iter().position(|group| group.id == id);
        let mut now: Vec<Option<Candidate>> = vec![None; config.groups.len()];
        let mut start = now.clone();
        let mut flips = Vec::new();
        for point in rest {
            let flip = point.flip.as_ref()?;
            let at = group(&flip.group)?;
            start[at] = start[at].or(Some(flip.from));
            if now[at].is_some_and(|now| now != flip.from) {
                return None;
            }
            now[at] = Some(flip.to);
            flips.push((at, flip.to));
        }
        // What never changes is as it was chosen, if the choice is a point of the curve.
        let on_curve = config.chosen_point.is_some();
        let of_group = |(start, group): (Option<Candidate>, &Group)| {
            start.or((on_curve || group.sqnr_db.len() == 1).then_some(group.candidate))
        };
        let start: Vec<Candidate> =
            start.into_iter().zip(&config.groups).map(of_group).collect::<Option<_>>()?;
        let all = start.iter().copied().chain(flips.iter().map(|&(_, to)| to));
        let candidates: Vec<Candidate> =
            Report::counts(all).into_iter().map(|(candidate, _)| candidate).collect();
        let index = |wanted: Candidate| candidates.iter().position(|known| *known == wanted);
        let start = start.into_iter().map(index).collect::<Option<_>>()?;
        let flips = flips.into_iter().map(|(at, to)| Some((at, index(to)?)));
        let flips = flips.collect::<Option<_>>()?;
        Some(Walk { candidates, start, flips })
    }

    /// What each group has at a point.
    pub(super) fn at(&self, point: usize) -> Vec<Candidate> {
        let mut choices = self.start.clone();
        self.flips.iter().take(point).for_each(|&(group, to)| choices[group] = to);
        choices.into_iter().map(|choice| self.candidates[choice]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::artifact::example;

    #[test]
    fn costs_before_and_after() {
        let mut config = example::config();
        let report = Report::new(&config);
        assert_eq!(report.full.to_string(), "W8A16");
        // 1000 MACs with 8 bits each; 108 weights with two scales and zero points.
        let conv = BeforeAfter { bops: [128_000, 64_000], bytes: [118, 118] };
        assert_eq!(report.costs, [conv, BeforeAfter::default()]);
        assert_eq!(report.total.bops, [128_000, 64_000]);
        assert_eq!(report.rest, BeforeAfter { bops: [0, 0], bytes: [2, 2] });

        config.groups[0].product_macs = 400;
        let bops = 600 * 8 * 16 + 400 * 16 * 16;
        assert_eq!(Report::new(&config).costs[0].bops, [bops, 64_000]);
    }

    #[test]
    fn configurations_of_the_curve() {
        let mut config = example::config();
        let text = |config: &Config, point| {
            let walk = Report::new(config).walk?;
            let choices = walk.at(point).into_iter().map(|choice| choice.to_string());
            Some(choices.collect::<Vec<_>>().join(" "))
        };
        assert_eq!(text(&config, 0).as_deref(), Some("W8A16 A16"));
        assert_eq!(text(&config, 1).as_deref(), Some("W8A8 A16"));
        config.chosen_point = None;
        assert_eq!(text(&config, 0), None, "the second group could have been anything");
        config = example::config();
        config.curve[1].flip = None;
        assert_eq!(text(&config, 0), None, "several groups were changed");
    }

    #[test]
    fn any_file_has_a_report() {
        let mut config = example::config();
        config.candidates.clear();
        config.groups[0].macs = u64::MAX;
        config.groups[1].macs = u64::MAX;
        config.groups[1].product_macs = u64::MAX;
        config.groups[0].weight_elements = u64::MAX;
        config.cost.relative_bops = Some(1e-300);
        config.cost.relative_weight_bytes = None;
        assert_eq!(Report::new(&config).total.bops[1], 64_000);
    }
}
