//! [`Dual`]: a price for every cost, which bounds from below the noise of all that is within limits.
//!
//! For any prices that are not negative no configuration within the limits has less noise than
//! `sum over groups of min over items of (noise + price . cost) + price . (base - limit)`.

use super::items::{Cost, DIMS, Item, Items, is_within};
use super::layers::{Layers, Open};

const CYCLES: usize = 4;
const STEPS: usize = 150;

#[derive(Debug, Clone)]
pub(super) struct Dual {
    pub(super) prices: Cost,
    /// The bound.
    pub(super) value: f64,
    /// Of every group, the item with the least noise and priced cost.
    pub(super) picks: Vec<usize>,
    /// What these cost.
    usage: Cost,
}

impl Dual {
    /// Good prices: the best for one limit, nearly so for several.
    pub(super) fn new(items: &Items, limits: &Cost) -> Dual {
        let bounded: Vec<usize> = (0..DIMS).filter(|&dim| limits[dim].is_finite()).collect();
        let mut best = Dual::at(items, limits, [0.; DIMS]);
        let cycles = if bounded.len() < 2 { 1 } else { CYCLES };
        for _ in 0..cycles {
            for &dim in &bounded {
                best = best.along(items, limits, dim);
            }
        }
        if bounded.len() < 2 { best } else { best.ascend(items, limits) }
    }

    fn at(items: &Items, limits: &Cost, prices: Cost) -> Dual {
        let mut dual = Dual { prices, value: 0., picks: Vec::new(), usage: items.base };
        for group in &items.groups {
            let priced = group.iter().map(|item| priced(item, &prices)).enumerate();
            let least = priced.min_by(|(_, a), (_, b)| a.total_cmp(b));
            let (pick, price) = least.expect("an undominated item is left in every group");
            dual.value += price;
            dual.picks.push(pick);
            (0..DIMS).for_each(|dim| dual.usage[dim] += group[pick].cost[dim]);
        }
        let bounded = (0..DIMS).filter(|&dim| limits[dim].is_finite());
        dual.value += bounded.map(|dim| prices[dim] * (items.base[dim] - limits[dim])).sum::<f64>();
        dual
    }

    /// The least price of one cost at which its limit is kept, by bisection.
    fn along(self, items: &Items, limits: &Cost, dim: usize) -> Dual {
        let with_price = |price: f64| {
            let mut prices = self.prices;
            prices[dim] = price;
            Dual::at(items, limits, prices)
        };
        let is_kept = |dual: &Dual| dual.usage[dim] <= limits[dim];
        let free = with_price(0.);
        if is_kept(&free) {
            return free;
        }
        let noise: f64 = items.groups.iter().flatten().map(|item| item.noise as f64).sum();
        let mut high = (noise / size(items, limits, dim) * 2_f64.powi(-80)).max(f64::MIN_POSITIVE);
        let mut dual = with_price(high);
        for _ in 0..200 {
            if is_kept(&dual) {
                break;
            }
            high *= 2.;
            dual = with_price(high);
        }
        let mut low = high / 2.;
        for _ in 0..50 {
            let middle = low + (high - low) / 2.;
            let at_middle = with_price(middle);
            if is_kept(&at_middle) {
                (high, dual) = (middle, at_middle);
            } else {
                low = middle;
            }
        }
        if dual.value.is_finite() { dual } else { free }
    }

    /// Steps along the subgradient, ever shorter; the best prices seen.
    fn ascend(self, items: &Items, limits: &Cost) -> Dual {
        let mut best = self;
        let mut at = best.clone();
        let size = |dim: usize| size(items, limits, dim);
        let mut length = 0.3;
        for _ in 0..STEPS {
            let excess: Cost = std::array::from_fn(|dim| {
                if limits[dim].is_finite() {
                    at.usage[dim] / size(dim) - limits[dim] / size(dim)
                } else {
                    0.
                }
            });
            let norm = excess.iter().map(|excess| excess * excess).sum::<f64>().sqrt();
            let scale = (0..DIMS).map(|dim| best.prices[dim] * size(dim)).fold(0., f64::max);
            if norm == 0. || scale == 0. {
                break;
            }
            let moved = |dim: usize| {
                let step = length * scale * excess[dim] / norm / size(dim);
                if step.is_finite() { (at.prices[dim] + step).max(0.) } else { at.prices[dim] }
            };
            at = Dual::at(items, limits, std::array::from_fn(moved));
            if best.value < at.value {
                best = at.clone();
            }
            length *= 0.95;
        }
        best
    }

    /// How much the bound rises if `item` of `group` is taken.
    pub(super) fn regret(&self, group: &[Item], best: usize, item: usize) -> f64 {
        (priced(&group[item], &self.prices) - priced(&group[best], &self.prices)).max(0.)
    }

    /// The group to decide first where the bound is too low: the one that costs most between items
    /// that are nearly as good as each other, since it leaves most of a limit unused.
    pub(super) fn split<'l>(&self, items: &Items, layers: &'l Layers<'_>) -> &'l Open {
        let between = |open: &Open| {
            let choices = &items.groups[open.group];
            let best = &choices[open.items[0].0].cost;
            let worth = |&(item, regret): &(usize, f64)| {
                let cost = &choices[item].cost;
                let apart = |dim: usize| self.prices[dim] * (cost[dim] - best[dim]).abs();
                (0..DIMS).map(apart).sum::<f64>() - 2. * regret
            };
            open.items[1..].iter().map(worth).fold(f64::NEG_INFINITY, f64::max)
        };
        let order = |a: &&Open, b: &&Open| between(a).total_cmp(&between(b));
        layers.open.iter().max_by(order).expect("only open groups take room")
    }

    /// More than what rounding can have added to the bound.
    pub(super) fn rounding(&self, items: &Items, limits: &Cost) -> f64 {
        let priced = (0..DIMS)
            .filter(|&dim| self.prices[dim] != 0.)
            .map(|dim| self.prices[dim] * size(items, limits, dim));
        let noise = items.noise(&self.picks) as f64;
        1e-12 * (priced.sum::<f64>() + noise)
    }
}

/// More than any cost can be, and more than 0 where it can be limited at all.
pub(super) fn size(items: &Items, limits: &Cost, dim: usize) -> f64 {
    let largest =
        |group: &Vec<Item>| group.iter().map(|item| item.cost[dim].abs()).fold(0., f64::max);
    let costs: f64 = items.groups.iter().map(largest).sum();
    costs + items.base[dim].abs() + limits[dim].abs()
}

fn priced(item: &Item, prices: &Cost) -> f64 {
    (0..DIMS).fold(item.noise as f64, |sum, dim| sum + prices[dim] * item.cost[dim])
}

/// A configuration within the limits, from the cheapest by price: over limits, the swap that brings
/// most for its noise; then, as long as there is one, the swap that saves most noise.
pub(super) fn greedy(items: &Items, limits: &Cost, dual: &Dual) -> Option<Vec<usize>> {
    let mut picks = dual.picks.clone();
    let mut cost = dual.usage;
    let excess = |cost: &Cost| -> f64 {
        let bounded = (0..DIMS).filter(|&dim| limits[dim].is_finite());
        let over = |dim: usize| (cost[dim] - limits[dim]).max(0.) / (1. + limits[dim].abs());
        bounded.map(over).sum()
    };
    while !is_within(&cost, limits) {
        let now = excess(&cost);
        let gain = |group: usize, item: usize, after: &Cost| {
            let regret = dual.regret(&items.groups[group], picks[group], item);
            let brings = now - excess(after);
            (0. < brings).then(|| brings / (regret + f64::MIN_POSITIVE))
        };
        let (group, item, after) = best_swap(items, &picks, &cost, gain)?;
        (picks[group], cost) = (item, after);
    }
    let saves = |picks: &[usize], cost: &Cost| {
        let gain = |group: usize, item: usize, after: &Cost| {
            let [old, new] = [picks[group], item].map(|item| items.groups[group][item].noise);
            (new < old && is_within(after, limits)).then(|| (old - new) as f64)
        };
        best_swap(items, picks, cost, gain)
    };
    while let Some((group, item, after)) = saves(&picks, &cost) {
        (picks[group], cost) = (item, after);
    }
    is_within(&items.cost(&picks), limits).then_some(picks)
}

fn best_swap(
    items: &Items,
    picks: &[usize],
    cost: &Cost,
    gain: impl Fn(usize, usize, &Cost) -> Option<f64>,
) -> Option<(usize, usize, Cost)> {
    let mut best: Option<(f64, usize, usize, Cost)> = None;
    for (group, choices) in items.groups.iter().enumerate() {
        for (item, new) in choices.iter().enumerate() {
            let old = &choices[picks[group]].cost;
            let after = std::array::from_fn(|dim| cost[dim] - old[dim] + new.cost[dim]);
            let Some(gain) = gain(group, item, &after) else { continue };
            if best.is_none_or(|(most, ..)| most < gain) {
                best = Some((gain, group, item, after));
            }
        }
    }
    best.map(|(_, group, item, after)| (group, item, after))
}
