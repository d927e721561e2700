//! `pareto`: the first point of the walk that meets the goal, as in Pandey et al.
//!
//! # When it wins
//!
//! It needs only the order of the sensitivity list, not that noises add up, and costs may be
//! anything: every point is looked at, so even one that rises along the walk (conversions, a latency
//! table) is met as soon as it can be. Where no point is within the budgets because of such a cost,
//! the best uniform candidate that is within them is taken. So it holds where predictions are poor, and where costs are no sums over
//! groups. One walk serves all budgets, its points differ in one group each, and a smaller budget
//! only takes bits away: a curve to step along and to explain. It loses where groups differ much in
//! cost, because the list is in the order of what a choice does, not of what a step saves for it.

use crate::search::{
    Answer, Configuration, Costs, Curve, Goal, Least, Outcome, Problem, SearchError, Strategy,
    list, walk,
};

use super::walk::kept_groups;

pub(super) const STRATEGY: Strategy = Strategy {
    name: "pareto",
    doc: "down the sensitivity list, least sensitive first, until the goal is met",
    search,
};

fn search(problem: &mut dyn Problem, goal: &Goal) -> Result<Outcome, SearchError> {
    let list = list(problem)?;
    let curve = walk(problem, &list, goal)?;
    let answer = match curve.first_within(&goal.budgets) {
        Some(point) => {
            Answer::Found { configuration: curve.configuration(point), point: Some(point) }
        }
        None => beside_the_walk(problem, &curve, goal)?,
    };
    Ok(Outcome::new(curve, answer))
}

/// The uniform candidate within the budgets that is foretold to be best: where a cost rises along
/// the walk, as conversions do, there may be one though no point is.
fn beside_the_walk(
    problem: &dyn Problem,
    curve: &Curve,
    goal: &Goal,
) -> Result<Answer, SearchError> {
    let kept = kept_groups(problem, curve.start(), goal)?;
    let moves_none = |configuration: &Configuration| {
        let groups = configuration.0.iter().zip(&curve.start().0).zip(&kept);
        groups.into_iter().all(|((choice, start), kept)| !kept || choice == start)
    };
    let uniform = problem.uniform().into_iter().map(|(_, configuration)| configuration);
    let uniform: Vec<Configuration> = uniform.filter(moves_none).collect();
    let is_within = |configuration: &&Configuration| {
        let costs = problem.costs(configuration);
        goal.budgets.iter().all(|budget| budget.is_met(&costs, &curve.full))
    };
    let sqnr_db = |configuration: &&Configuration| {
        problem.predicted_sqnr_db(configuration).unwrap_or(f64::INFINITY)
    };
    let best = uniform.iter().filter(is_within);
    if let Some(best) = best.max_by(|a, b| sqnr_db(a).total_cmp(&sqnr_db(b))) {
        return Ok(Answer::Found { configuration: best.clone(), point: None });
    }
    let walked = curve.points.iter().map(|point| point.costs.clone());
    let costs: Vec<Costs> =
        walked.chain(uniform.iter().map(|configuration| problem.costs(configuration))).collect();
    Ok(Answer::Unreachable(Least::over(&goal.budgets, &costs, &curve.full)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::search::toy::Toy;
    use crate::search::{Choice, Configuration, CostMetric};

    /// The definition, word for word and without any of the code under test: builds every point
    /// from scratch and takes the first within the limits.
    fn naive(toy: &Toy, within: &dyn Fn(f64, f64) -> bool) -> Option<Vec<usize>> {
        let choices = toy.choices();
        let mut pairs: Vec<(usize, usize)> = Vec::new();
        for (group, choices) in choices.iter().enumerate() {
            pairs.extend((0..choices.len()).map(|choice| (group, choice)));
        }
        let rank = |&(group, choice): &(usize, usize)| {
            let Choice { candidate, sqnr_db, .. } = choices[group][choice];
            let saved = toy.bops(&naive_start(toy)) - toy.bops(&replaced(toy, group, choice));
            (sqnr_db.unwrap_or(1e9), candidate.sum(), saved)
        };
        for end in (1..pairs.len()).rev() {
            for i in 0..end {
                if rank(&pairs[i]) < rank(&pairs[i + 1]) {
                    pairs.swap(i, i + 1);
                }
            }
        }
        (0..=pairs.len()).find_map(|applied| {
            let point = naive_point(toy, &pairs[..applied]);
            within(toy.bops(&point), toy.weights(&point)).then_some(point)
        })
    }

    fn naive_point(toy: &Toy, pairs: &[(usize, usize)]) -> Vec<usize> {
        let mut point = naive_start(toy);
        for &(group, choice) in pairs {
            let [old, new] = [point[group], choice].map(|i| toy.choices()[group][i].candidate);
            let (old_weight, new_weight) = (old.weight.map(u32::from), new.weight.map(u32::from));
            let (old_activation, new_activation) = (old.activation.get(), new.activation.get());
            let raises = old_weight < new_weight || old_activation < new_activation;
            let lowers = new_weight < old_weight || new_activation < old_activation;
            if lowers && !raises {
                point[group] = choice;
            }
        }
        point
    }

    fn naive_start(toy: &Toy) -> Vec<usize> {
        let best = |choices: &Vec<Choice>| {
            let key = |i: usize| {
                let candidate = choices[i].candidate;
                let weight = candidate.weight.map_or(1, |bits| u32::from(bits.get()));
                (weight * u32::from(candidate.activation.get()), weight)
            };
            let mut best = 0;
            for i in 1..choices.len() {
                if key(best) < key(i) {
                    best = i;
                }
            }
            best
        };
        toy.choices().iter().map(best).collect()
    }

    fn replaced(toy: &Toy, group: usize, choice: usize) -> Vec<usize> {
        let mut point = naive_start(toy);
        point[group] = choice;
        point
    }

    #[test]
    fn equals_the_definition() {
        for seed in 0..200 {
            let mut toy = Toy::random(seed, 1 + seed as usize % 6);
            let [bops, weights] = [toy.bops(&naive_start(&toy)), toy.weights(&naive_start(&toy))];
            for (budgets, bops_limit, weights_limit) in [
                (&["1"][..], 1., f64::MAX),
                (&["0.6"], 0.6, f64::MAX),
                (&["0.35"], 0.35, f64::MAX),
                (&["weights=0.7"], f64::MAX, 0.7),
                (&["0.7", "weights=0.8"], 0.7, 0.8),
                (&["0.01"], 0.01, f64::MAX),
            ] {
                let budgets = budgets.iter().map(|budget| budget.parse().unwrap()).collect();
                let outcome = search(&mut toy, &Goal { budgets, keep_free: false }).unwrap();
                let found = match outcome.answer {
                    Answer::Found { configuration, .. } => Some(configuration),
                    Answer::Unreachable(_) => None,
                };
                let expected =
                    naive(&toy, &|b, w| b <= bops_limit * bops && w <= weights_limit * weights);
                assert_eq!(found, expected.map(Configuration), "seed {seed}: {toy:?}");
            }
        }
    }

    #[test]
    fn an_unknown_cost_is_refused() {
        let mut toy = Toy::random(1, 3);
        toy.unknown = Some(CostMetric::WEIGHTS);
        let budgets = vec!["weights=0.5".parse().unwrap()];
        let error = search(&mut toy, &Goal { budgets, keep_free: false }).unwrap_err();
        assert_eq!(error.to_string(), "cost `weights` has a budget but is not known here");
    }
}
