//! The sensitivity list: every (group, choice), least sensitive first.

use std::cmp::Ordering;

use crate::quant::Candidate;
use crate::search::{Configuration, CostMetric, Problem, SearchError};

/// One choice of one group.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    pub group: usize,
    pub choice: usize,
    pub candidate: Candidate,
    /// `None` is no noise at all.
    pub sqnr_db: Option<f64>,
    /// What ranks it before the SQNR does, where there is such a thing.
    pub score: Option<f64>,
    /// Against the group's most precise choice.
    pub bops_saved: f64,
}

/// Every choice of every group of a problem, [sorted](sort).
pub fn list(problem: &dyn Problem) -> Result<Vec<Entry>, SearchError> {
    if let Some(group) = problem.choices().iter().position(Vec::is_empty) {
        return Err(SearchError::NoChoices { group });
    }
    let start = Configuration::most_precise(problem.choices());
    let bops = |configuration: &Configuration| {
        problem.costs(configuration).get(CostMetric::BOPS).unwrap_or(0.)
    };
    let mut entries = Vec::new();
    for (group, choices) in problem.choices().iter().enumerate() {
        entries.extend(choices.iter().enumerate().map(|(index, choice)| Entry {
            group,
            choice: index,
            candidate: choice.candidate,
            sqnr_db: choice.sqnr_db,
            score: choice.score,
            bops_saved: bops(&start) - bops(&start.with(group, index)),
        }));
    }
    sort(&mut entries);
    Ok(entries)
}

/// Descending by score where there is one, SQNR, sum of bits, BOPs saved; then in model order.
///
/// What has no noise comes before all of its score; a NaN counts as minus infinity.
pub fn sort(entries: &mut [Entry]) {
    entries.sort_by(|a, b| {
        descending(score(a), score(b))
            .then(descending(sqnr(a), sqnr(b)))
            .then(b.candidate.sum().cmp(&a.candidate.sum()))
            .then(descending(a.bops_saved, b.bops_saved))
            .then((a.group, a.choice).cmp(&(b.group, b.choice)))
    });
}

fn score(entry: &Entry) -> f64 {
    or_least(entry.score.unwrap_or(0.))
}

fn sqnr(entry: &Entry) -> f64 {
    or_least(entry.sqnr_db.unwrap_or(f64::INFINITY))
}

fn or_least(x: f64) -> f64 {
    if x.is_nan() { f64::NEG_INFINITY } else { x }
}

/// Adding 0 makes 0 and -0 equal.
fn descending(a: f64, b: f64) -> Ordering {
    (b + 0.).total_cmp(&(a + 0.))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::search::toy::{Toy, group};

    fn listed(toy: &Toy) -> Vec<String> {
        let entries = list(toy).unwrap();
        entries.iter().map(|entry| format!("{} {}", entry.group, entry.candidate)).collect()
    }

    #[test]
    fn descending_sqnr_and_no_noise_first() {
        let toy = Toy::new(vec![
            group(10, 1, &[("W8A16", 42.), ("W8A8", 33.5), ("W4A8", f64::NAN)]),
            group(10, 1, &[("A16", f64::INFINITY), ("A8", 37.)]),
            group(10, 1, &[("W8A16", f64::NEG_INFINITY)]),
        ]);
        assert_eq!(listed(&toy), ["1 A16", "0 W8A16", "1 A8", "0 W8A8", "2 W8A16", "0 W4A8"]);
    }

    #[test]
    fn a_score_goes_before_the_sqnr() {
        let choices = &[("W8A16", 60.), ("W8A8", 40.), ("W4A8", 20.)];
        let mut toy = Toy::new(vec![group(10, 1, choices), group(10, 1, choices)]);
        toy.score(0, &[0.9, 0.8, 0.8]);
        toy.score(1, &[0.8, f64::NAN, 0.95]);
        assert_eq!(listed(&toy), ["1 W4A8", "0 W8A16", "1 W8A16", "0 W8A8", "0 W4A8", "1 W8A8"]);
    }

    #[test]
    fn ties_go_by_sum_of_bits_then_bops_saved_then_model_order() {
        let choices = &[("W8A16", 60.), ("W4A8", 20.), ("W8A8", 20.)];
        let toy =
            Toy::new(vec![group(10, 1, choices), group(30, 1, choices), group(10, 1, choices)]);
        assert_eq!(
            listed(&toy),
            [
                "0 W8A16", "1 W8A16", "2 W8A16", "1 W8A8", "0 W8A8", "2 W8A8", "1 W4A8", "0 W4A8",
                "2 W4A8"
            ]
        );
    }

    #[test]
    fn the_order_does_not_depend_on_the_order_of_the_entries() {
        let toy = Toy::random(3, 6);
        let sorted = list(&toy).unwrap();
        let mut entries = sorted.clone();
        entries.reverse();
        sort(&mut entries);
        assert_eq!(entries, sorted);
        entries.rotate_left(5);
        sort(&mut entries);
        assert_eq!(entries, sorted);
    }

    #[test]
    fn a_group_without_choices_is_refused() {
        let toy = Toy::new(vec![group(1, 1, &[("W8A8", 1.)]), group(1, 1, &[])]);
        let error = list(&toy).unwrap_err();
        assert_eq!(error.to_string(), "group 1 has no choices, expected at least one");
    }
}
