//! [`Curve`]: configurations from precise to cheap, each with its costs.

use crate::search::{Budget, Configuration, Costs, Problem};

/// The configurations that a strategy would choose, from precise to cheap; point 0 is the start.
#[derive(Debug, Clone, PartialEq)]
pub struct Curve {
    /// What relative budgets are fractions of.
    pub full: Costs,
    /// At least the start.
    pub points: Vec<Point>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Point {
    pub configuration: Configuration,
    /// What was changed since the point before; `None` at the start, and where several groups were.
    pub flip: Option<Flip>,
    pub costs: Costs,
    /// `None` is no noise at all.
    pub predicted_sqnr_db: Option<f64>,
}

/// A group goes from one of its choices to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flip {
    pub group: usize,
    pub from: usize,
    pub to: usize,
}

impl Curve {
    /// The points that a series of flips passes through: point `k` is the first `k` together.
    pub fn new(problem: &dyn Problem, start: Configuration, flips: &[Flip]) -> Curve {
        let mut configurations = vec![start];
        for (index, flip) in flips.iter().enumerate() {
            configurations.push(configurations[index].with(flip.group, flip.to));
        }
        Curve::of(problem, &configurations)
    }

    /// One point for each configuration.
    ///
    /// # Panics
    /// If there is none.
    pub fn of(problem: &dyn Problem, configurations: &[Configuration]) -> Curve {
        assert!(!configurations.is_empty(), "a curve has at least its start");
        let before = std::iter::once(None).chain(configurations.iter().map(Some));
        let point = |(configuration, before): (&Configuration, Option<&Configuration>)| Point {
            configuration: configuration.clone(),
            flip: before.and_then(|before| flip(before, configuration)),
            costs: problem.costs(configuration),
            predicted_sqnr_db: problem.predicted_sqnr_db(configuration),
        };
        let points = configurations.iter().zip(before).map(point).collect();
        Curve { full: problem.full_costs(), points }
    }

    /// The most precise point.
    pub fn start(&self) -> &Configuration {
        &self.points.first().expect("a curve has at least its start").configuration
    }

    /// # Panics
    /// If there is no point `index`.
    pub fn configuration(&self, index: usize) -> Configuration {
        self.points[index].configuration.clone()
    }

    /// The first point within all budgets.
    ///
    /// Looks at one point after the other: right even if a cost should rise along the walk.
    pub fn first_within(&self, budgets: &[Budget]) -> Option<usize> {
        let is_met =
            |point: &Point| budgets.iter().all(|budget| budget.is_met(&point.costs, &self.full));
        self.points.iter().position(is_met)
    }

    /// The cheapest point: no flip follows it.
    pub fn last(&self) -> &Point {
        self.points.last().expect("a curve has at least its start")
    }
}

/// What is between two configurations, if it is one group.
fn flip(before: &Configuration, after: &Configuration) -> Option<Flip> {
    let pairs = before.0.iter().zip(&after.0).enumerate();
    let mut changed = pairs.filter(|(_, (from, to))| from != to);
    let (group, (&from, &to)) = changed.next()?;
    changed.next().is_none().then_some(Flip { group, from, to })
}
