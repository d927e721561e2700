//! `best`: all other strategies and the uniform candidates, compared by measuring.
//!
//! Every other row of the table runs, but for one that cannot handle a budgeted cost or that needs
//! measuring where nothing can be measured; its answer, and every uniform configuration within the
//! budgets, is measured once. The highest measured SQNR wins; of equals the cheaper, in the order of
//! the budgets; of these the first of the table, uniform ones last. Where nothing can be measured
//! the predicted SQNR decides. [`Outcome::tried`] has them all.
//!
//! # When it wins
//!
//! Always, if the few measurements more are no matter: it is never worse than any strategy alone, on
//! the data that it measures with. On paper a strategy may be ahead and in the network behind,
//! because noise does not quite add; and where most of the network stands 8 bits well and budgets
//! just admit them, a uniform configuration can be ahead of all. Without measuring it is no
//! more than `knapsack`.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use crate::quant::Candidate;
use crate::search::{
    Answer, Choice, Configuration, Costs, Goal, Least, Outcome, Problem, Quality, STRATEGIES,
    SearchError, Strategy, Tried,
};

pub(super) const STRATEGY: Strategy = Strategy {
    name: "best",
    doc: "all other strategies and the uniform candidates; the winner by measured SQNR",
    search,
};

fn search(problem: &mut dyn Problem, goal: &Goal) -> Result<Outcome, SearchError> {
    let problem = &mut Remembering { problem, measured: BTreeMap::new() };
    let mut outcomes = outcomes(problem, goal)?;
    let mut tried = Vec::new();
    // By row of `tried`, the outcome that it is from; none for a uniform configuration.
    let mut from = Vec::new();
    for (index, (name, outcome)) in outcomes.iter().enumerate() {
        if let Answer::Found { configuration, .. } = &outcome.answer {
            tried.push(untested(problem, name, configuration));
            from.push(Some(index));
        }
    }
    for (candidate, configuration) in uniform_within(problem, goal) {
        tried.push(untested(problem, &candidate, &configuration));
        from.push(None);
    }
    measure(problem, &mut tried)?;
    let evaluations = problem.measured.len();
    let Some(winner) = winner(&tried, goal) else {
        let answer = Answer::Unreachable(leasts(&outcomes));
        let (_, first) = outcomes.swap_remove(0);
        return Ok(Outcome { evaluations, ..Outcome::new(first.curve, answer) });
    };
    let configuration = tried[winner].configuration.clone();
    let (_, won) = outcomes.swap_remove(from[winner].unwrap_or(0));
    let (gap, point) = match (from[winner], won.answer) {
        (Some(_), Answer::Found { point, .. }) => (won.gap, point),
        _ => (None, None),
    };
    let answer = Answer::Found { configuration, point };
    Ok(Outcome { curve: won.curve, answer, evaluations, gap, tried })
}

/// What all other strategies come to, by name; those that cannot handle a cost are left out.
fn outcomes(
    problem: &mut dyn Problem,
    goal: &Goal,
) -> Result<Vec<(&'static str, Outcome)>, SearchError> {
    let mut outcomes = Vec::new();
    for strategy in STRATEGIES.iter().filter(|strategy| strategy.name != STRATEGY.name) {
        match (strategy.search)(problem, goal) {
            Ok(outcome) => outcomes.push((strategy.name, outcome)),
            Err(
                SearchError::NotASum { .. } | SearchError::NoSums { .. } | SearchError::NoMeasuring,
            ) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(outcomes)
}

fn uniform_within(problem: &dyn Problem, goal: &Goal) -> Vec<(String, Configuration)> {
    let full = problem.full_costs();
    let uniform = problem.uniform().into_iter().filter(|(_, configuration)| {
        let costs = problem.costs(configuration);
        goal.budgets.iter().all(|budget| budget.is_met(&costs, &full))
    });
    uniform.map(|(candidate, configuration)| (candidate.to_string(), configuration)).collect()
}

fn untested(problem: &dyn Problem, name: &str, configuration: &Configuration) -> Tried {
    Tried {
        name: name.to_owned(),
        configuration: configuration.clone(),
        costs: problem.costs(configuration),
        predicted_sqnr_db: problem.predicted_sqnr_db(configuration),
        measured: None,
    }
}

fn measure(problem: &mut dyn Problem, tried: &mut [Tried]) -> Result<(), SearchError> {
    for tried in tried {
        match problem.measure(&tried.configuration) {
            Ok(quality) => tried.measured = Some(quality),
            Err(SearchError::NoMeasuring) => return Ok(()),
            Err(error) => return Err(error),
        };
    }
    Ok(())
}

/// A problem that measures no configuration twice, as strategies ask for the same ones.
struct Remembering<'a> {
    problem: &'a mut dyn Problem,
    measured: BTreeMap<Configuration, Quality>,
}

impl Problem for Remembering<'_> {
    fn choices(&self) -> &[Vec<Choice>] {
        self.problem.choices()
    }

    fn costs(&self, configuration: &Configuration) -> Costs {
        self.problem.costs(configuration)
    }

    fn full_costs(&self) -> Costs {
        self.problem.full_costs()
    }

    fn predicted_sqnr_db(&self, configuration: &Configuration) -> Option<f64> {
        self.problem.predicted_sqnr_db(configuration)
    }

    fn uniform(&self) -> Vec<(Candidate, Configuration)> {
        self.problem.uniform()
    }

    fn measure(&mut self, configuration: &Configuration) -> Result<Quality, SearchError> {
        if let Some(quality) = self.measured.get(configuration) {
            return Ok(quality.clone());
        }
        let quality = self.problem.measure(configuration)?;
        self.measured.insert(configuration.clone(), quality.clone());
        Ok(quality)
    }
}

/// The first of the best.
fn winner(tried: &[Tried], goal: &Goal) -> Option<usize> {
    let sqnr_db = |tried: &Tried| match &tried.measured {
        Some(quality) => quality.sqnr_db,
        None => tried.predicted_sqnr_db,
    };
    let order = |&a: &usize, &b: &usize| {
        let [better, worse] = [b, a].map(|index| rank(sqnr_db(&tried[index])));
        better.total_cmp(&worse).then_with(|| by_cost(&tried[a].costs, &tried[b].costs, goal))
    };
    (0..tried.len()).min_by(order)
}

/// No noise at all is best, what is no number worst; adding 0 makes 0 and -0 equal.
fn rank(sqnr_db: Option<f64>) -> f64 {
    match sqnr_db {
        None => f64::INFINITY,
        Some(sqnr_db) if sqnr_db.is_nan() => f64::NEG_INFINITY,
        Some(sqnr_db) => sqnr_db + 0.,
    }
}

/// By what has a budget, then by all the others.
fn by_cost(a: &Costs, b: &Costs, goal: &Goal) -> Ordering {
    let budgeted = goal.budgets.iter().map(|budget| budget.metric);
    let metrics = budgeted.chain(a.iter().map(|(metric, _)| metric));
    let costs = metrics.filter_map(|metric| Some((a.get(metric)?, b.get(metric)?)));
    costs.map(|(a, b)| a.total_cmp(&b)).find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
}

/// The least of all strategies for every budget. Where each can be met by one of them, but not all
/// together, it is what the first strategy can do.
fn leasts(outcomes: &[(&str, Outcome)]) -> Vec<Least> {
    let mut all = outcomes.iter().filter_map(|(_, outcome)| match &outcome.answer {
        Answer::Unreachable(leasts) => Some(leasts),
        Answer::Found { .. } => None,
    });
    let Some(first) = all.next() else { return Vec::new() };
    let mut leasts = first.clone();
    for others in all {
        for (least, other) in leasts.iter_mut().zip(others) {
            if other.least.value() < least.least.value() {
                least.least = other.least;
            }
            least.together = least.together.or(other.together);
        }
    }
    if leasts.iter().any(|least| least.budget.limit.value() < least.least.value()) {
        leasts.iter_mut().for_each(|least| least.together = None);
        return leasts;
    }
    if leasts.iter().all(Least::is_met) { first.clone() } else { leasts }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::search::toy::{Toy, group};

    /// A toy that can be measured, by configuration, and has uniform configurations.
    struct Measured {
        toy: Toy,
        sqnr_db: fn(&[usize]) -> f64,
        measured: Vec<Vec<usize>>,
    }

    impl Problem for Measured {
        fn choices(&self) -> &[Vec<Choice>] {
            self.toy.choices()
        }

        fn costs(&self, configuration: &Configuration) -> Costs {
            self.toy.costs(configuration)
        }

        fn uniform(&self) -> Vec<(Candidate, Configuration)> {
            let uniform = |choice: usize| Configuration(vec![choice; self.choices().len()]);
            let first = self.choices()[0].iter().enumerate();
            first.map(|(index, choice)| (choice.candidate, uniform(index))).collect()
        }

        fn measure(&mut self, configuration: &Configuration) -> Result<Quality, SearchError> {
            self.measured.push(configuration.0.clone());
            let sqnr_db = Some((self.sqnr_db)(&configuration.0));
            Ok(Quality { sqnr_db, metrics: Vec::new() })
        }
    }

    /// The walk comes to [1, 1, 1], the knapsack to [0, 0, 1], as W8A8 is in reach.
    fn toy() -> Toy {
        let small = &[("W8A16", 60.), ("W8A8", 40.), ("W4A8", 10.)];
        let large = &[("W8A16", 60.), ("W8A8", 35.), ("W4A8", 5.)];
        Toy::new(vec![group(1, 1, small), group(1, 1, small), group(98, 1, large)])
    }

    fn goal(budget: &str) -> Goal {
        Goal { budgets: vec![budget.parse().unwrap()], keep_free: false }
    }

    fn found(outcome: &Outcome) -> (&[usize], Option<usize>) {
        match &outcome.answer {
            Answer::Found { configuration, point } => (&configuration.0, *point),
            Answer::Unreachable(_) => panic!("it is within"),
        }
    }

    #[test]
    fn the_highest_measured_sqnr_wins() {
        for (sqnr_db, winner, is_on_curve) in [
            ((|c| if c == [0, 0, 1] { 30. } else { 20. }) as fn(&[usize]) -> f64, [0, 0, 1], true),
            (|c| if c == [1, 1, 1] { 30. } else { 20. }, [1, 1, 1], true),
            (|c| if c == [2, 2, 2] { 30. } else { 20. }, [2, 2, 2], false),
            // Of equals the cheapest, whatever cannot be compared last.
            (|_| 30., [2, 2, 2], false),
            (|c| if c == [2, 2, 2] { f64::NAN } else { 30. }, [1, 1, 1], true),
        ] {
            let mut problem = Measured { toy: toy(), sqnr_db, measured: Vec::new() };
            let outcome = search(&mut problem, &goal("0.51")).unwrap();
            let (configuration, point) = found(&outcome);
            assert_eq!((configuration, point.is_some()), (&winner[..], is_on_curve));
            // Nothing is measured twice, though `refine` begins where the others end.
            assert_eq!(outcome.evaluations, problem.measured.len());
            let distinct: BTreeSet<&Vec<usize>> = problem.measured.iter().collect();
            assert_eq!(distinct.len(), problem.measured.len());
            assert_eq!(problem.measured[..3], [[1, 1, 1], [0, 0, 1], [2, 2, 2]]);
        }
    }

    #[test]
    fn all_that_was_tried_is_listed() {
        let mut problem = Measured { toy: toy(), sqnr_db: |_| 30., measured: Vec::new() };
        let outcome = search(&mut problem, &goal("0.51")).unwrap();
        let tried = outcome.tried.iter().map(|tried| {
            let sqnr_db = tried.measured.as_ref().unwrap().sqnr_db.unwrap();
            format!("{} {:?} {sqnr_db}", tried.name, tried.configuration.0)
        });
        assert_eq!(
            tried.collect::<Vec<_>>(),
            [
                "pareto [1, 1, 1] 30",
                "knapsack [0, 0, 1] 30",
                "refine [1, 1, 1] 30",
                "W8A8 [1, 1, 1] 30",
                "W4A8 [2, 2, 2] 30"
            ]
        );
    }

    #[test]
    fn without_measuring_the_prediction_decides() {
        let outcome = search(&mut toy(), &goal("0.51")).unwrap();
        assert_eq!(found(&outcome).0, [0, 0, 1]);
        assert_eq!((outcome.evaluations, outcome.gap), (0, Some(0.)));
        assert!(outcome.tried.iter().all(|tried| tried.measured.is_none()));
        let names: Vec<&str> = outcome.tried.iter().map(|tried| tried.name.as_str()).collect();
        assert_eq!(names, ["pareto", "knapsack"]);
    }
}
