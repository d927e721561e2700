//! The walk down the sensitivity list: from the most precise configuration, least sensitive first.

use crate::search::{Configuration, Curve, Entry, Flip, Goal, Problem, SearchError};

/// Walks from every group's most precise choice down the list.
///
/// An entry is applied if it raises neither the weight nor the activation bits of its group and
/// lowers at least one, else it is skipped. So every cost that grows with bits only falls.
pub fn walk(problem: &dyn Problem, list: &[Entry], goal: &Goal) -> Result<Curve, SearchError> {
    let start = Configuration::most_precise(problem.choices());
    let kept = kept_groups(problem, &start, goal)?;
    let mut at = start.clone();
    let mut flips = Vec::new();
    for entry in list.iter().filter(|entry| !kept[entry.group]) {
        let from = at.0[entry.group];
        let current = &problem.choices()[entry.group][from].candidate;
        if entry.candidate.is_below(current) {
            flips.push(Flip { group: entry.group, from, to: entry.choice });
            at.0[entry.group] = entry.choice;
        }
    }
    Ok(Curve::new(problem, start, &flips))
}

/// The groups that `--keep-free` leaves at their start: none of their choices saves anything that
/// has a budget.
pub(super) fn kept_groups(
    problem: &dyn Problem,
    start: &Configuration,
    goal: &Goal,
) -> Result<Vec<bool>, SearchError> {
    let budgeted = |configuration: &Configuration| {
        let costs = problem.costs(configuration);
        let cost = |metric| costs.get(metric).ok_or(SearchError::UnknownCost { metric });
        goal.budgets.iter().map(|budget| cost(budget.metric)).collect::<Result<Vec<f64>, _>>()
    };
    let before = budgeted(start)?;
    let mut kept = vec![goal.keep_free && !goal.budgets.is_empty(); problem.choices().len()];
    for (group, kept) in kept.iter_mut().enumerate().filter(|(_, kept)| **kept) {
        let choices = &problem.choices()[group];
        let most_precise = choices[start.0[group]].candidate;
        for (index, choice) in choices.iter().enumerate() {
            if choice.candidate.is_below(&most_precise) {
                let after = budgeted(&start.with(group, index))?;
                *kept &= !before.iter().zip(&after).any(|(before, after)| after < before);
            }
        }
    }
    Ok(kept)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::search::list;
    use crate::search::toy::{Toy, group};

    fn flips(toy: &Toy, budgets: &[&str], keep_free: bool) -> Vec<String> {
        let budgets = budgets.iter().map(|budget| budget.parse().unwrap()).collect();
        let goal = Goal { budgets, keep_free };
        let curve = walk(toy, &list(toy).unwrap(), &goal).unwrap();
        let name = |flip: Flip| {
            let choices = &toy.choices()[flip.group];
            let [from, to] = [flip.from, flip.to].map(|choice| choices[choice].candidate);
            format!("{} {from} {to}", flip.group)
        };
        curve.points.iter().filter_map(|point| point.flip).map(name).collect()
    }

    #[test]
    fn each_group_steps_down_in_the_order_of_the_list() {
        let choices = |offset| [("W8A16", 60.), ("W8A8", 40. + offset), ("W4A8", 20. + offset)];
        let toy = Toy::new(vec![group(1, 1, &choices(0.)), group(1, 1, &choices(1.))]);
        let expected = ["1 W8A16 W8A8", "0 W8A16 W8A8", "1 W8A8 W4A8", "0 W8A8 W4A8"];
        assert_eq!(flips(&toy, &[], false), expected);
    }

    #[test]
    fn entries_that_raise_bits_are_skipped() {
        for (choices, expected) in [
            // The start, or what is more precise than where the group is by then.
            (&[("W8A16", 10.), ("W8A8", 20.), ("W4A8", 30.)][..], &["0 W8A16 W4A8"][..]),
            // Fewer weight bits but more activation bits than where the group is by then.
            (
                &[("W16A16", 60.), ("W8A8", 50.), ("W4A16", 40.), ("W4A8", 30.)],
                &["0 W16A16 W8A8", "0 W8A8 W4A8"],
            ),
            (&[("W8A8", 60.), ("W4A16", 50.)], &[]),
            (&[("A16", 60.), ("A8", 50.), ("A8", 40.)], &["0 A16 A8"]),
        ] {
            assert_eq!(flips(&Toy::new(vec![group(1, 1, choices)]), &[], false), expected);
        }
    }

    #[test]
    fn keep_free_leaves_groups_that_save_nothing_of_any_budgeted_cost() {
        let toy = Toy::new(vec![
            group(0, 0, &[("A16", 60.), ("A8", 50.)]),
            group(0, 8, &[("W8A16", 60.), ("W4A16", 40.)]),
            group(1, 0, &[("W8A16", 60.), ("W8A8", 30.)]),
        ]);
        let [free, table, product] = ["0 A16 A8", "1 W8A16 W4A16", "2 W8A16 W8A8"];
        for (budgets, keep_free, expected) in [
            (&["0.5"][..], false, &[free, table, product][..]),
            (&["0.5"], true, &[product]),
            (&["weights=0.5"], true, &[table]),
            (&["0.5", "weights=0.5"], true, &[table, product]),
            (&[], true, &[free, table, product]),
        ] {
            assert_eq!(flips(&toy, budgets, keep_free), expected, "{budgets:?}");
        }
    }

    #[test]
    fn points_are_the_flips_so_far() {
        let toy = Toy::random(7, 5);
        let goal = Goal { budgets: vec![], keep_free: false };
        let curve = walk(&toy, &list(&toy).unwrap(), &goal).unwrap();
        assert_eq!(&curve.configuration(0), curve.start());
        for (index, point) in curve.points.iter().enumerate() {
            let configuration = curve.configuration(index);
            assert_eq!(point.costs, toy.costs(&configuration));
            assert_eq!(point.predicted_sqnr_db, toy.predicted_sqnr_db(&configuration));
        }
    }

    #[test]
    fn costs_fall_along_the_walk() {
        for seed in 0..50 {
            let toy = Toy::random(seed, 8);
            let goal = Goal { budgets: vec![], keep_free: false };
            let curve = walk(&toy, &list(&toy).unwrap(), &goal).unwrap();
            for pair in curve.points.windows(2) {
                let costs = pair[0].costs.iter().zip(pair[1].costs.iter());
                for ((metric, before), (_, after)) in costs {
                    assert!(after <= before, "seed {seed}: {metric} rises, {before} to {after}");
                }
            }
        }
    }
}
