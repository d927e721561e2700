//! [`Strategy`]: a way to search; [`Goal`] and [`Outcome`]: what it is asked and answers.

use std::fmt;

use crate::search::{
    Amount, Budget, Configuration, Costs, Curve, Problem, Quality, STRATEGIES, SearchError,
};

/// One row of the table of strategies.
#[derive(Debug, Clone, Copy)]
pub struct Strategy {
    pub name: &'static str,
    /// What it does, in a line.
    pub doc: &'static str,
    pub search: fn(&mut dyn Problem, &Goal) -> Result<Outcome, SearchError>,
}

impl Strategy {
    /// The one of [`STRATEGIES`] that has this name.
    pub fn find(name: &str) -> Option<&'static Strategy> {
        STRATEGIES.iter().find(|strategy| strategy.name == name)
    }
}

/// What a configuration has to meet: all of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Goal {
    pub budgets: Vec<Budget>,
    /// Leave groups that save nothing of any budgeted cost at their most precise choice.
    pub keep_free: bool,
}

/// What a search came to.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    pub curve: Curve,
    pub answer: Answer,
    /// Configurations that were measured to find the answer.
    pub evaluations: usize,
    /// How much less predicted noise there might be within the budgets at most, as a fraction of
    /// the answer's: 0 for the optimum, `None` if the strategy does not say.
    pub gap: Option<f64>,
    /// What was compared, if that is how the answer was found.
    pub tried: Vec<Tried>,
}

/// One of several configurations that were compared.
#[derive(Debug, Clone, PartialEq)]
pub struct Tried {
    /// The strategy, or the candidate of a uniform configuration.
    pub name: String,
    pub configuration: Configuration,
    pub costs: Costs,
    /// `None` is no noise at all.
    pub predicted_sqnr_db: Option<f64>,
    /// `None` where measuring is not possible.
    pub measured: Option<Quality>,
}

impl Outcome {
    /// Of a strategy that measures and compares nothing.
    pub fn new(curve: Curve, answer: Answer) -> Outcome {
        Outcome { curve, answer, evaluations: 0, gap: None, tried: Vec::new() }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// `point` is the configuration's place on the curve, if it has one.
    Found { configuration: Configuration, point: Option<usize> },
    /// What the strategy can do at best, for every budget.
    Unreachable(Vec<Least>),
}

/// The least that a strategy can make a budgeted cost, in the terms of the budget.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Least {
    pub budget: Budget,
    pub least: Amount,
    /// Where every budget can be met, but not all together: what it is at the configuration that is
    /// over by the least.
    pub together: Option<Amount>,
}

impl Least {
    /// For every budget, what a configuration as cheap as can be costs.
    pub fn of(budgets: &[Budget], costs: &Costs, full: &Costs) -> Result<Vec<Least>, SearchError> {
        Least::over(budgets, std::slice::from_ref(costs), full)
    }

    /// For every budget the least of what some configurations cost.
    ///
    /// # Panics
    /// If there is none.
    pub fn over(
        budgets: &[Budget],
        costs: &[Costs],
        full: &Costs,
    ) -> Result<Vec<Least>, SearchError> {
        let used = |budget: &Budget, costs: &Costs| {
            let metric = budget.metric;
            budget.used(costs, full).ok_or(SearchError::UnknownCost { metric })
        };
        let mut leasts = Vec::with_capacity(budgets.len());
        for &budget in budgets {
            let all = costs.iter().map(|costs| used(&budget, costs));
            let all = all.collect::<Result<Vec<Amount>, _>>()?;
            let least = all.into_iter().min_by(|a, b| a.value().total_cmp(&b.value()));
            let least = least.expect("there is a configuration");
            leasts.push(Least { budget, least, together: None });
        }
        if leasts.iter().all(Least::is_met) {
            let excess = |costs: &&Costs| excess(budgets, costs, full);
            let nearest = costs.iter().min_by(|a, b| excess(a).total_cmp(&excess(b)));
            let nearest = nearest.expect("there is a configuration");
            Least::together(&mut leasts, nearest, full)?;
        }
        Ok(leasts)
    }

    /// Adds what every budgeted cost is at the configuration that comes nearest to all budgets.
    pub(super) fn together(
        leasts: &mut [Least],
        nearest: &Costs,
        full: &Costs,
    ) -> Result<(), SearchError> {
        for least in leasts {
            let metric = least.budget.metric;
            let used = least.budget.used(nearest, full);
            least.together = Some(used.ok_or(SearchError::UnknownCost { metric })?);
        }
        Ok(())
    }

    pub fn is_met(&self) -> bool {
        let is_within = |amount: Amount| amount.value() <= self.budget.limit.value();
        is_within(self.least) && self.together.is_none_or(is_within)
    }
}

/// By how much of its limit the worst budget is exceeded.
fn excess(budgets: &[Budget], costs: &Costs, full: &Costs) -> f64 {
    let over = |budget: &Budget| {
        let used = budget.used(costs, full).map_or(f64::INFINITY, Amount::value);
        let limit = budget.limit.value();
        (used - limit).max(0.) / limit.max(f64::MIN_POSITIVE)
    };
    budgets.iter().map(over).fold(0., f64::max)
}

impl fmt::Display for Least {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let amount = |limit| Budget { limit, ..self.budget };
        let (budget, least) = (self.budget, amount(self.least));
        match self.together {
            None => {
                let verb = if self.is_met() { "can" } else { "cannot" };
                write!(f, "budget `{budget}` {verb} be met, the least is `{least}`")
            }
            Some(together) => write!(
                f,
                "budget `{budget}` can be met alone, the least is `{least}`; nearest to all it is `{}`",
                amount(together)
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::search::toy::{Toy, group};

    const GOALS: &[&[&str]] = &[
        &[],
        &["1"],
        &["0.6"],
        &["0.4"],
        &["0.01"],
        &["bops=1k"],
        &["weights=0.5"],
        &["weights=40B"],
        &["0.7", "weights=0.6"],
        &["0.5", "weights=1TiB", "bops=1T"],
    ];

    fn goal(budgets: &[&str]) -> Goal {
        Goal {
            budgets: budgets.iter().map(|budget| budget.parse().unwrap()).collect(),
            keep_free: false,
        }
    }

    fn search(strategy: &Strategy, toy: &Toy, goal: &Goal) -> Outcome {
        let mut toy = toy.clone();
        toy.measure = Some(|at| -(at.iter().sum::<usize>() as f64));
        (strategy.search)(&mut toy, goal).unwrap()
    }

    /// Runs every strategy on every goal and toy, with what went in as text for messages.
    fn for_all(check: impl Fn(&Toy, &Goal, &Outcome, &str)) {
        for strategy in STRATEGIES {
            for seed in 0..60 {
                let toy = Toy::random_with_bottom(seed, seed as usize % 6);
                for budgets in GOALS {
                    let goal = goal(budgets);
                    let outcome = search(strategy, &toy, &goal);
                    let case = format!("{} seed {seed} {budgets:?}", strategy.name);
                    check(&toy, &goal, &outcome, &case);
                }
            }
        }
    }

    fn is_met(toy: &Toy, goal: &Goal, configuration: &Configuration) -> bool {
        let [costs, full] = [toy.costs(configuration), toy.full_costs()];
        goal.budgets.iter().all(|budget| budget.is_met(&costs, &full))
    }

    #[test]
    fn answers_are_within_the_budgets_and_found_wherever_there_is_one() {
        for_all(|toy, goal, outcome, case| {
            let exists = toy.configurations().iter().any(|c| is_met(toy, goal, c));
            match &outcome.answer {
                Answer::Found { configuration, .. } => {
                    assert!(is_met(toy, goal, configuration), "{case}");
                }
                Answer::Unreachable(_) => assert!(!exists, "{case}"),
            }
        });
    }

    #[test]
    fn a_found_point_is_the_configuration_and_no_earlier_one_is_within_the_budgets() {
        for_all(|toy, goal, outcome, case| {
            let Answer::Found { configuration, point: Some(point) } = &outcome.answer else {
                return;
            };
            assert_eq!(configuration, &outcome.curve.configuration(*point), "{case}");
            let is_earlier_met =
                (0..*point).any(|earlier| is_met(toy, goal, &outcome.curve.configuration(earlier)));
            assert!(!is_earlier_met, "{case}");
        });
    }

    #[test]
    fn the_least_is_that_of_all_configurations() {
        for_all(|toy, goal, outcome, case| {
            let Answer::Unreachable(leasts) = &outcome.answer else { return };
            assert_eq!(leasts.len(), goal.budgets.len(), "{case}");
            assert!(leasts.iter().any(|least| !least.is_met()), "{case}");
            for Least { budget, least, .. } in leasts {
                let used = |configuration: &Configuration| {
                    let used = budget.used(&toy.costs(configuration), &toy.full_costs());
                    used.unwrap().value()
                };
                let all = toy.configurations();
                let expected = all.iter().map(used).min_by(f64::total_cmp).unwrap();
                assert_eq!(least.value(), expected, "{case}");
            }
        });
    }

    #[test]
    fn the_same_problem_gives_the_same_outcome() {
        for strategy in STRATEGIES {
            let toy = Toy::random(5, 6);
            let outcome = search(strategy, &toy, &goal(&["0.5"]));
            assert_eq!(outcome, search(strategy, &toy, &goal(&["0.5"])), "{}", strategy.name);
        }
    }

    #[test]
    fn unreachable_budgets_say_what_the_least_is() {
        let choices = &[("W8A16", 40.), ("W8A8", 30.), ("W4A8", 20.)];
        let toy = Toy::new(vec![group(1000, 800, choices)]);
        for strategy in STRATEGIES {
            let outcome = search(strategy, &toy, &goal(&["0.1", "weights=0.6", "bops=10k"]));
            let Answer::Unreachable(leasts) = outcome.answer else { panic!("{}", strategy.name) };
            assert_eq!(
                leasts.iter().map(Least::to_string).collect::<Vec<_>>(),
                [
                    "budget `bops=0.1` cannot be met, the least is `bops=0.25`",
                    "budget `weights=0.6` can be met, the least is `weights=0.5`",
                    "budget `bops=10k` cannot be met, the least is `bops=32k`",
                ]
            );
        }
    }

    #[test]
    fn names_are_found() {
        for strategy in STRATEGIES {
            assert_eq!(Strategy::find(strategy.name).unwrap().doc, strategy.doc);
        }
        assert!(Strategy::find("guess").is_none());
    }
}
