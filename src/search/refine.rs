//! `refine`: swaps that make the network better when it is measured, from the best known start.
//!
//! The answers of `pareto` and `knapsack` and the uniform candidates within the budgets are measured;
//! the best of them is the start. From there one group at a time goes to a choice with less noise.
//! If that is beyond the budgets, the one other group pays for it that adds least noise by doing so;
//! where none can alone, up to four that add least for what they save.
//! These swaps are measured in the order of what is foretold for them; the first that is better than
//! what there is becomes the new place to swap from. It ends where no swap is left, or with 64
//! measured configurations.
//!
//! # When it wins
//!
//! Predictions add the noises of groups that were measured alone. Where these amplify or cancel each
//! other, where an output saturates, the foretold optimum is not the real one, and only measuring
//! the whole can tell: then a few swaps gain more than any weighing on paper. It wins most where
//! budgets cut deep, as noise is then far from small and adds badly, and on small networks, where 64
//! measurements are a good part of all swaps there are. It needs no sums, so it also betters what
//! `pareto` found for budgets of peak memory or conversions.
//!
//! It never falls behind its start on the samples it measures with. It costs up to 64 measurements,
//! each a run of the network over all samples, and only looks at swaps near to where it is. Many measurements on few samples pick what happens to suit these: the fewer there are, the
//! less of a lead will be left on others.

use std::collections::BTreeSet;

use crate::search::{
    Amount, Answer, Budget, Choice, Configuration, Costs, Goal, Least, Outcome, Problem,
    SearchError, Strategy, knapsack, pareto,
};

use super::walk::kept_groups;

pub(super) const STRATEGY: Strategy = Strategy {
    name: "refine",
    doc: "from the best start, swaps while the measured SQNR rises",
    search,
};

/// The most configurations that are measured.
const MOST_MEASURED: usize = 64;

/// The most configurations whose cost is looked at for the swaps from one place.
const MOST_LOOKED_AT: usize = 20_000;

/// The most groups that pay for one.
const MOST_PAYERS: usize = 4;

fn search(problem: &mut dyn Problem, goal: &Goal) -> Result<Outcome, SearchError> {
    let walked = (pareto::STRATEGY.search)(problem, goal)?;
    let weighed = match (knapsack::STRATEGY.search)(problem, goal) {
        Ok(outcome) => Some(outcome),
        Err(SearchError::NotASum { .. } | SearchError::NoSums { .. }) => None,
        Err(error) => return Err(error),
    };
    let full = problem.full_costs();
    let mut climb = Climb {
        kept: kept_groups(problem, walked.curve.start(), goal)?,
        problem,
        goal,
        full,
        measured: BTreeSet::new(),
        best: None,
    };
    for outcome in [Some(&walked), weighed.as_ref()].into_iter().flatten() {
        if let Answer::Found { configuration, .. } = &outcome.answer {
            climb.measure(configuration.clone())?;
        }
    }
    for (_, configuration) in climb.problem.uniform() {
        if climb.may_be(&configuration) {
            climb.measure(configuration)?;
        }
    }
    while climb.step()? {}
    let evaluations = climb.measured.len();
    let answer = match climb.best {
        Some((configuration, _)) => {
            let points = &walked.curve.points;
            let point = points.iter().position(|point| point.configuration == configuration);
            let is_first = point == walked.curve.first_within(&goal.budgets);
            Answer::Found { configuration, point: point.filter(|_| is_first) }
        }
        None => Answer::Unreachable(leasts(&walked, weighed.as_ref())),
    };
    Ok(Outcome { evaluations, ..Outcome::new(walked.curve, answer) })
}

/// Knapsack's where there are any, as they are those of all configurations.
fn leasts(walked: &Outcome, weighed: Option<&Outcome>) -> Vec<Least> {
    match (&weighed.unwrap_or(walked).answer, &walked.answer) {
        (Answer::Unreachable(leasts), _) | (_, Answer::Unreachable(leasts)) => leasts.clone(),
        _ => Vec::new(),
    }
}

struct Climb<'a> {
    problem: &'a mut dyn Problem,
    goal: &'a Goal,
    full: Costs,
    /// Groups that stay at their start.
    kept: Vec<bool>,
    measured: BTreeSet<Configuration>,
    /// With its SQNR; no noise at all is infinite, what is no number minus infinite.
    best: Option<(Configuration, f64)>,
}

/// A group goes to another of its choices.
#[derive(Clone)]
struct Move {
    group: usize,
    choice: usize,
    /// Foretold noise-to-signal ratio that this adds.
    noise: f64,
    /// What it adds to every budgeted cost, as a part of its limit.
    adds: Vec<f64>,
}

impl Climb<'_> {
    /// Whether it is better than the best so far, which it then is.
    fn measure(&mut self, configuration: Configuration) -> Result<bool, SearchError> {
        if self.measured.len() == MOST_MEASURED || self.measured.contains(&configuration) {
            return Ok(false);
        }
        let sqnr_db = match self.problem.measure(&configuration)?.sqnr_db {
            None => f64::INFINITY,
            Some(sqnr_db) if sqnr_db.is_nan() => f64::NEG_INFINITY,
            Some(sqnr_db) => sqnr_db,
        };
        self.measured.insert(configuration.clone());
        let is_better = self.best.as_ref().is_none_or(|(_, best)| *best < sqnr_db);
        if is_better {
            self.best = Some((configuration, sqnr_db));
        }
        Ok(is_better)
    }

    /// Measures swaps until one is better; `false` where there is none.
    fn step(&mut self) -> Result<bool, SearchError> {
        let Some((at, _)) = self.best.clone() else { return Ok(false) };
        // Swaps whose payer turned out badly come again with another one.
        loop {
            let swaps = self.swaps(&at);
            if swaps.is_empty() || self.measured.len() == MOST_MEASURED {
                return Ok(false);
            }
            for swap in swaps {
                if self.measure(swap)? {
                    return Ok(true);
                }
            }
        }
    }

    /// What may be better than `at`, the most promising first, none of it measured so far: for every
    /// choice with less noise at most one.
    fn swaps(&self, at: &Configuration) -> Vec<Configuration> {
        let mut moves = self.moves(at);
        moves.sort_by(|a, b| a.noise.total_cmp(&b.noise));
        let now = self.used(at);
        let payers: Vec<&Move> = moves.iter().filter(|to| 0. <= to.noise).collect();
        let mut by_worth = payers.clone();
        by_worth.sort_by(|a, b| self.price(a).total_cmp(&self.price(b)));
        let mut n_looked_at = 0;
        let mut swaps = Vec::new();
        for gain in moves.iter().filter(|gain| gain.noise < 0.) {
            let alone = at.with(gain.group, gain.choice);
            if self.may_be(&alone) {
                swaps.push((gain.noise, alone));
                continue;
            }
            let mut look_at = |configuration: &Configuration| {
                n_looked_at += 1;
                n_looked_at <= MOST_LOOKED_AT
                    && !self.measured.contains(configuration)
                    && self.may_be(configuration)
            };
            let others = |payers: &[&Move]| {
                let others = payers.iter().filter(|payer| payer.group != gain.group);
                others.map(|payer| (**payer).clone()).collect::<Vec<Move>>()
            };
            let one = others(&payers).into_iter().find_map(|payer| {
                let both = alone.with(payer.group, payer.choice);
                let is_found = self.may_pay(&now, gain, &payer) && look_at(&both);
                is_found.then_some((gain.noise + payer.noise, both))
            });
            let several = || {
                let (mut noise, mut all, mut paying) = (gain.noise, alone.clone(), Vec::new());
                for payer in others(&by_worth) {
                    if paying.contains(&payer.group) || !self.saves(&payer) {
                        continue;
                    }
                    paying.push(payer.group);
                    noise += payer.noise;
                    all.0[payer.group] = payer.choice;
                    if look_at(&all) {
                        return Some((noise, all));
                    }
                    if paying.len() == MOST_PAYERS {
                        break;
                    }
                }
                None
            };
            swaps.extend(one.or_else(several));
        }
        swaps.retain(|(_, swap)| !self.measured.contains(swap));
        swaps.sort_by(|(a, _), (b, _)| a.total_cmp(b));
        swaps.into_iter().map(|(_, swap)| swap).collect()
    }

    /// What every budgeted cost is, as a part of its limit.
    fn used(&self, configuration: &Configuration) -> Vec<f64> {
        let costs = self.problem.costs(configuration);
        let part = |budget: &Budget| {
            let used = budget.used(&costs, &self.full).map_or(f64::INFINITY, Amount::value);
            used / budget.limit.value().max(f64::MIN_POSITIVE)
        };
        self.goal.budgets.iter().map(part).collect()
    }

    /// Whether two moves may be within the budgets together, as far as costs are sums.
    fn may_pay(&self, now: &[f64], gain: &Move, payer: &Move) -> bool {
        let sums = self.goal.budgets.iter().enumerate().filter(|(_, b)| b.metric.is_sum());
        // The slack is for rounding; what is really within the budgets is looked at later.
        sums.into_iter().all(|(index, _)| {
            let used = now[index] + gain.adds[index] + payer.adds[index];
            used <= 1. + 1e-9 * (1. + now[index])
        })
    }

    fn saves(&self, payer: &Move) -> bool {
        payer.adds.iter().sum::<f64>() < 0.
    }

    /// Noise for what a move saves.
    fn price(&self, payer: &Move) -> f64 {
        let saved = -payer.adds.iter().sum::<f64>();
        if 0. < saved { payer.noise / saved } else { f64::INFINITY }
    }

    /// Every other choice of every group.
    fn moves(&self, at: &Configuration) -> Vec<Move> {
        let now = self.used(at);
        let mut moves = Vec::new();
        for (group, choices) in self.problem.choices().iter().enumerate() {
            let from = noise(&choices[at.0[group]]);
            let others = (0..choices.len()).filter(|&choice| choice != at.0[group]);
            moves.extend(others.map(|choice| {
                let noise = noise(&choices[choice]) - from;
                let after = self.used(&at.with(group, choice));
                let adds = after.iter().zip(&now).map(|(after, now)| after - now).collect();
                Move { group, choice, noise, adds }
            }));
        }
        moves.retain(|to| !self.kept[to.group]);
        moves
    }

    /// Whether it is within the budgets and leaves kept groups alone.
    fn may_be(&self, configuration: &Configuration) -> bool {
        let start = Configuration::most_precise(self.problem.choices());
        let choices = configuration.0.iter().zip(&start.0).zip(&self.kept);
        let costs = self.problem.costs(configuration);
        choices.into_iter().all(|((choice, start), kept)| !kept || choice == start)
            && self.goal.budgets.iter().all(|budget| budget.is_met(&costs, &self.full))
    }
}

/// What is no number or no signal at all is as bad as can be.
fn noise(choice: &Choice) -> f64 {
    const MOST: f64 = 1e100;
    let ratio = choice.sqnr_db.map_or(0., |sqnr_db| 10_f64.powf(-sqnr_db / 10.));
    if ratio < MOST { ratio } else { MOST }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::search::Quality;
    use crate::search::toy::{Toy, group};

    fn goal(budgets: &[&str]) -> Goal {
        Goal {
            budgets: budgets.iter().map(|budget| budget.parse().unwrap()).collect(),
            keep_free: false,
        }
    }

    fn found(outcome: &Outcome) -> &[usize] {
        match &outcome.answer {
            Answer::Found { configuration, .. } => &configuration.0,
            Answer::Unreachable(_) => panic!("it is within"),
        }
    }

    /// Three equal groups of which one must be at W4A8: which one is told by measuring alone.
    fn equal_groups(measure: fn(&[usize]) -> f64) -> Toy {
        let choices = &[("W8A8", 40.), ("W4A8", 20.)];
        let mut toy =
            Toy::new(vec![group(1, 1, choices), group(1, 1, choices), group(1, 1, choices)]);
        toy.measure = Some(measure);
        toy
    }

    #[test]
    fn a_swap_that_is_measured_to_be_better_is_taken() {
        for good in [[1, 0, 0], [0, 1, 0], [0, 0, 1]] {
            let measure: fn(&[usize]) -> f64 = match good {
                [1, 0, 0] => |at| if at == [1, 0, 0] { 30. } else { 20. },
                [0, 1, 0] => |at| if at == [0, 1, 0] { 30. } else { 20. },
                _ => |at| if at == [0, 0, 1] { 30. } else { 20. },
            };
            let outcome = search(&mut equal_groups(measure), &goal(&["0.84"])).unwrap();
            assert_eq!(found(&outcome), good);
            assert!(outcome.evaluations <= 6, "{}", outcome.evaluations);
        }
    }

    #[test]
    fn it_never_falls_behind_its_start_nor_leaves_the_budgets() {
        for seed in 0..100 {
            let mut toy = Toy::random(seed, 7);
            // Noise that adds up badly: a hash of the configuration in decibels.
            toy.measure = Some(|at| {
                let hash = at.iter().fold(7_u64, |hash, &choice| hash * 31 + choice as u64);
                (hash % 1009) as f64 / 10.
            });
            let goal = goal(&["0.6"]);
            let outcome = search(&mut toy, &goal).unwrap();
            if let Answer::Unreachable(_) = outcome.answer {
                continue;
            }
            let sqnr_db = |toy: &mut Toy, configuration: &Configuration| {
                toy.measure(configuration).unwrap().sqnr_db.unwrap()
            };
            let configuration = Configuration(found(&outcome).to_vec());
            let best = sqnr_db(&mut toy, &configuration);
            for start in [pareto::STRATEGY, knapsack::STRATEGY] {
                let start = (start.search)(&mut toy, &goal).unwrap();
                let Answer::Found { configuration: start, .. } = start.answer else { continue };
                assert!(sqnr_db(&mut toy, &start) <= best, "seed {seed}");
            }
            assert!(outcome.evaluations <= MOST_MEASURED);
            let (costs, full) = (toy.costs(&configuration), toy.full_costs());
            assert!(goal.budgets[0].is_met(&costs, &full), "seed {seed}");
        }
    }

    #[test]
    fn at_most_64_are_measured() {
        let choices = &[("W8A16", 60.), ("W8A8", 40.), ("W4A8", 20.)];
        let mut toy = Toy::new((0..40).map(|_| group(1, 1, choices)).collect());
        toy.measure = Some(|at| at.iter().sum::<usize>() as f64);
        let outcome = search(&mut toy, &goal(&["0.5"])).unwrap();
        assert_eq!(outcome.evaluations, MOST_MEASURED);
    }

    #[test]
    fn costs_that_are_no_sums_are_met() {
        let conversions = |at: &[usize]| at.windows(2).filter(|pair| pair[0] != pair[1]).count();
        struct Seams(Toy, fn(&[usize]) -> usize);
        impl Problem for Seams {
            fn choices(&self) -> &[Vec<Choice>] {
                self.0.choices()
            }

            fn costs(&self, at: &Configuration) -> Costs {
                let conversions = crate::search::CostMetric::find("conversions").unwrap();
                let more = [(conversions, (self.1)(&at.0) as f64)];
                self.0.costs(at).iter().chain(more).collect()
            }

            fn measure(&mut self, at: &Configuration) -> Result<Quality, SearchError> {
                self.0.measure(at)
            }
        }
        let choices = &[("A16", 60.), ("A8", 40.)];
        let heavy = &[("W8A16", 60.), ("W8A8", 10.)];
        let mut toy = Toy::new(vec![
            group(1, 1, heavy),
            group(2, 1, &[("W8A16", 60.), ("W8A8", 39.)]),
            group(0, 0, choices),
        ]);
        toy.measure = Some(|at| 20. + 10. * at[0] as f64 - 5. * at[2] as f64);
        let mut problem = Seams(toy, conversions);
        // Down to 0.84 of the BOPs one of the two must go to 8 bits; the walk stops at [0, 1, 1].
        let outcome = search(&mut problem, &goal(&["0.84", "conversions=2"])).unwrap();
        assert_eq!(found(&outcome), [1, 0, 0]);
    }

    #[test]
    fn without_measuring_it_is_refused() {
        let refused = search(&mut Toy::random(1, 3), &goal(&["1"]));
        assert!(matches!(refused, Err(SearchError::NoMeasuring)));
    }
}
