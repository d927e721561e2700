//! [`hull`]: the configurations that no mix of two others beats, without any search.
//!
//! For any price of a cost the best configuration takes in every group the item with the least
//! `noise + price x cost`. As the price rises groups step down one after the other, along the lower
//! convex hulls of their items: in the order of the noise that a step adds for what it saves. Each
//! configuration on this way is the optimum at its own cost.

use super::items::{Item, Items};

/// A group goes to another of its items.
struct Step {
    group: usize,
    to: usize,
    /// Noise added for each unit of cost saved.
    slope: f64,
}

/// The picks from least noise to least cost, in the first metric; neighbors differ in one group.
pub(super) fn hull(items: &Items) -> Vec<Vec<usize>> {
    let mut start = Vec::with_capacity(items.groups.len());
    let mut steps = Vec::new();
    for (group, choices) in items.groups.iter().enumerate() {
        let mut at = least_noise(choices);
        start.push(at);
        while let Some((to, slope)) = next(choices, at) {
            steps.push(Step { group, to, slope });
            at = to;
        }
    }
    steps.sort_by(|a, b| a.slope.total_cmp(&b.slope));
    let mut picks = vec![start];
    for step in steps {
        let mut after = picks[picks.len() - 1].clone();
        after[step.group] = step.to;
        picks.push(after);
    }
    picks
}

fn least_noise(choices: &[Item]) -> usize {
    let order = |a: &usize, b: &usize| {
        let (a, b) = (&choices[*a], &choices[*b]);
        a.noise.cmp(&b.noise).then(a.cost[0].total_cmp(&b.cost[0]))
    };
    (0..choices.len()).min_by(order).expect("an undominated item is left in every group")
}

/// The cheaper item that adds least noise for what it saves, the cheapest of equals.
fn next(choices: &[Item], at: usize) -> Option<(usize, f64)> {
    let from = &choices[at];
    let cheaper = (0..choices.len()).filter(|&item| choices[item].cost[0] < from.cost[0]);
    let slope = |item: usize| {
        let to = &choices[item];
        (to.noise.saturating_sub(from.noise)) as f64 / (from.cost[0] - to.cost[0])
    };
    let steps = cheaper.map(|item| (item, slope(item)));
    steps.min_by(|(a, slope_a), (b, slope_b)| {
        slope_a.total_cmp(slope_b).then(choices[*a].cost[0].total_cmp(&choices[*b].cost[0]))
    })
}
