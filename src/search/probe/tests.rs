use super::*;
use crate::search::toy::{Toy, group};
use crate::search::{Choice, Configuration, Costs, Quality, STRATEGIES};

/// Numbers below a bound, from a linear congruential generator.
fn random(seed: u64) -> impl FnMut(usize) -> usize {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    move |bound| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % bound
    }
}

/// Predicted SQNRs that fall but for small steps up, and measured values with noise of `spread`:
/// linear in the prediction, saturated as accuracies are, or unrelated to it.
fn random_curve(seed: u64, spread: usize) -> (Vec<f64>, Vec<f64>) {
    let mut below = random(seed);
    let n = 1 + below(300);
    let (kind, mut at) = (below(3), 60.);
    let mut predicted = Vec::new();
    for _ in 0..n {
        predicted.push(at);
        at -= [0.01, 0.2, 1.][below(3)] * below(20) as f64 / 10. - 0.01;
    }
    if below(8) == 0 {
        predicted[0] = f64::INFINITY;
    }
    let value = |(index, &predicted): (usize, &f64)| match kind {
        0 => predicted,
        1 => 60. / (1. + (-(predicted - 20.) / 4.).exp()),
        _ => -(index as f64),
    };
    let values: Vec<f64> = predicted.iter().enumerate().map(value).collect();
    let noise = |value: f64| value + below(1 + spread) as f64 / 4. - spread as f64 / 8.;
    let values = values.into_iter().map(noise).collect();
    (predicted, values)
}

/// The point that a probe finds, and what it measured.
fn run(
    name: &str,
    (predicted, values): &(Vec<f64>, Vec<f64>),
    wanted: f64,
) -> (Option<usize>, Vec<usize>) {
    let mut measured = Vec::new();
    let mut measure = |at: usize| {
        measured.push(at);
        Ok(values[at])
    };
    let found = narrow(predicted, wanted, Probe::find(name).unwrap(), &mut measure).unwrap();
    (found.ok().map(|end| end.at), measured)
}

/// Calls `check` with every probe on thousands of curves and goals.
fn for_all(mut check: impl FnMut(&str, &(Vec<f64>, Vec<f64>), f64, &str)) {
    for seed in 0..4000 {
        let spread = [0, 1, 40][seed as usize % 3];
        let curve = random_curve(seed, spread);
        let mut below = random(seed + 1);
        for _ in 0..3 {
            let wanted = curve.1[below(curve.1.len())] + [-0.1, 0., 0.1][below(3)];
            for probe in PROBES {
                check(probe.name, &curve, wanted, &format!("{} seed {seed} {wanted}", probe.name));
            }
        }
    }
}

#[test]
fn a_found_point_meets_the_goal_and_its_cheaper_neighbor_misses_it_both_measured() {
    for_all(|name, curve, wanted, case| {
        let (found, measured) = run(name, curve, wanted);
        let values = &curve.1;
        match found {
            None => {
                assert!(values[0] < wanted, "{case}");
                assert_eq!(measured, [0], "{case}");
            }
            Some(at) => {
                assert!(wanted <= values[at] && measured.contains(&at), "{case}");
                if at + 1 < values.len() {
                    assert!(values[at + 1] < wanted, "{case}");
                    assert!(measured.contains(&(at + 1)), "{case}");
                }
            }
        }
        let mut distinct = measured.clone();
        distinct.sort_unstable();
        distinct.dedup();
        assert_eq!(distinct.len(), measured.len(), "{case}: {measured:?}");
    });
}

#[test]
fn hybrid_takes_at_most_two_evaluations_more_than_bisection() {
    let mut worst = 0;
    let mut totals = [0, 0];
    for_all(|name, curve, wanted, case| {
        if name == "hybrid" {
            let [hybrid, binary] =
                ["hybrid", "binary"].map(|name| run(name, curve, wanted).1.len());
            assert!(hybrid <= binary + 2, "{case}: {hybrid}, bisection {binary}");
            worst = worst.max(hybrid.saturating_sub(binary));
            totals = [totals[0] + hybrid, totals[1] + binary];
        }
    });
    // The bound is tight, and in all it is worth it even where two curves of three are no lines.
    assert_eq!(worst, 2);
    assert!(totals[0] < totals[1], "{totals:?}");
}

#[test]
fn a_goal_that_the_cheapest_meets_is_found_at_once() {
    let curve = (vec![30., 20., 10., 0.], vec![4., 3., 2., 1.]);
    for (name, measured) in [
        ("sequential", &[0, 1, 2, 3][..]),
        ("binary", &[0, 3]),
        ("interpolation", &[0, 3]),
        ("hybrid", &[0, 3]),
    ] {
        assert_eq!(run(name, &curve, 1.), (Some(3), measured.to_vec()), "{name}");
        assert_eq!(run(name, &curve, 5.), (None, vec![0]), "{name}");
    }
}

#[test]
fn where_the_prediction_is_right_interpolation_needs_four_evaluations() {
    let values: Vec<f64> = (0..1000).map(|at| 50. - 0.05 * f64::from(at)).collect();
    let curve = (values.clone(), values);
    for (name, n) in [("sequential", 601), ("binary", 12), ("interpolation", 4), ("hybrid", 4)] {
        let (found, measured) = run(name, &curve, 20.001);
        assert_eq!((found, measured.len()), (Some(599), n), "{name}");
    }
}

#[test]
fn interpolation_alone_can_take_one_point_after_the_other_and_hybrid_cannot() {
    // All but the last point meet the goal by the same, however the prediction falls.
    let predicted: Vec<f64> = (0..200).map(|at| 60. - 0.001 * f64::from(at)).collect();
    let mut values = vec![10.; 200];
    values[199] = -1000.;
    let curve = (predicted, values);
    let count = |name| run(name, &curve, -990.).1.len();
    let reversed = (curve.0.clone(), {
        let mut values = vec![-1.; 200];
        values[0] = 1000.;
        values
    });
    let count_reversed = |name| run(name, &reversed, 0.).1.len();
    assert!(count("hybrid") <= count("binary") + 2);
    assert!(100 < count_reversed("interpolation"));
    assert!(count_reversed("hybrid") <= count_reversed("binary") + 2);
}

/// A toy whose measured SQNR is the predicted one and some noise, by configuration.
struct Noisy {
    toy: Toy,
    spread: f64,
    measured: Vec<Configuration>,
}

impl Problem for Noisy {
    fn choices(&self) -> &[Vec<Choice>] {
        self.toy.choices()
    }

    fn costs(&self, configuration: &Configuration) -> Costs {
        self.toy.costs(configuration)
    }

    fn measure(&mut self, configuration: &Configuration) -> Result<Quality, SearchError> {
        self.measured.push(configuration.clone());
        Ok(quality(&self.toy, self.spread, configuration))
    }
}

fn quality(toy: &Toy, spread: f64, configuration: &Configuration) -> Quality {
    let hash = configuration
        .0
        .iter()
        .fold(7_u64, |hash, &choice| hash.wrapping_mul(31).wrapping_add(choice as u64));
    let noise = random(hash)(100) as f64 / 100. - 0.5;
    let sqnr_db = toy.predicted_sqnr_db(configuration).map(|predicted| predicted + spread * noise);
    Quality { sqnr_db, metrics: Vec::new() }
}

#[test]
fn answers_meet_the_goal_and_the_budgets() {
    for seed in 0..400 {
        let toy = Toy::random_with_bottom(seed, 1 + seed as usize % 12);
        let spread = [0., 3., 20.][seed as usize % 3];
        for budgets in [&[][..], &["0.6"], &["weights=0.7"]] {
            for name in PROBED {
                for probe_row in PROBES {
                    let budgets = budgets.iter().map(|budget| budget.parse().unwrap()).collect();
                    let goal = Goal { budgets, keep_free: false };
                    let wanted = QualityGoal::Sqnr { least_db: [35., 28., 15.][seed as usize % 3] };
                    let mut problem = Noisy { toy: toy.clone(), spread, measured: Vec::new() };
                    let strategy = Strategy::find(name).unwrap();
                    let probed = probe(&mut problem, strategy, &goal, &wanted, probe_row).unwrap();
                    let case = format!("seed {seed} {name} {} {:?}", probe_row.name, goal.budgets);
                    check(&problem, &goal, &wanted, &probed, &case);
                }
            }
        }
    }
}

fn check(problem: &Noisy, goal: &Goal, wanted: &QualityGoal, probed: &Probed, case: &str) {
    let full = problem.full_costs();
    let is_within = |configuration: &Configuration| {
        let costs = problem.costs(configuration);
        goal.budgets.iter().all(|budget| budget.is_met(&costs, &full))
    };
    let is_met = |c: &Configuration| wanted.is_met(&quality(&problem.toy, problem.spread, c));
    match probed {
        Probed::Found(outcome) => {
            let Answer::Found { configuration, point: Some(point) } = &outcome.answer else {
                panic!("{case}: no point");
            };
            assert_eq!(&outcome.curve.configuration(*point), configuration, "{case}");
            assert!(is_within(configuration) && is_met(configuration), "{case}");
            assert!(problem.measured.contains(configuration), "{case}");
            assert_eq!(outcome.evaluations, problem.measured.len(), "{case}");
            if let Some(next) = outcome.curve.points.get(point + 1) {
                assert!(!is_met(&next.configuration), "{case}");
                assert!(problem.measured.contains(&next.configuration), "{case}");
            }
        }
        Probed::Missed(missed) => {
            let [first] = &problem.measured[..] else { panic!("{case}: measured more than one") };
            assert!(!is_met(first) && is_within(first), "{case}");
            assert_eq!(missed.is_budgeted, !goal.budgets.is_empty(), "{case}");
        }
        Probed::Unreachable(leasts) => {
            assert!(leasts.iter().any(|least| !least.is_met()), "{case}");
            assert!(problem.measured.is_empty(), "{case}");
        }
    }
}

#[test]
fn strategies_without_a_curve_are_refused() {
    let toy = Toy::new(vec![group(1, 8, &[("W8A16", 40.), ("W8A8", 30.), ("W4A8", 20.)])]);
    let refused = |strategy: &str, budgets: &[&str]| {
        let budgets = budgets.iter().map(|budget| budget.parse().unwrap()).collect();
        let goal = Goal { budgets, keep_free: false };
        expect_probed(Strategy::find(strategy).unwrap(), &goal).map_err(|error| error.to_string())
    };
    for strategy in STRATEGIES.iter().filter(|strategy| !PROBED.contains(&strategy.name)) {
        let name = strategy.name;
        let expected = "it has no curve to step along, expected `pareto` or `knapsack`";
        let message = format!("strategy `{name}` cannot serve a quality goal: {expected}");
        assert_eq!(refused(name, &[]), Err(message));
    }
    assert_eq!(refused("pareto", &["0.5", "weights=0.5"]), Ok(()));
    assert_eq!(refused("knapsack", &["0.5", "bops=1G"]), Ok(()));
    let message = refused("knapsack", &["0.5", "weights=0.5"]).unwrap_err();
    assert!(message.contains("budgets for `bops` and `weights`"), "{message}");
    // What cannot be measured cannot be probed.
    let goal = Goal { budgets: Vec::new(), keep_free: false };
    let wanted = QualityGoal::Sqnr { least_db: 25. };
    let strategy = Strategy::find("pareto").unwrap();
    let refused = probe(&mut toy.clone(), strategy, &goal, &wanted, &PROBES[0]);
    assert!(matches!(refused, Err(SearchError::NoMeasuring)));
}

#[test]
fn names_are_found() {
    for row in PROBES {
        assert_eq!(Probe::find(row.name).unwrap().doc, row.doc);
    }
    assert!(Probe::find("guess").is_none());
    assert!(PROBED.iter().all(|name| Strategy::find(name).is_some()));
}
