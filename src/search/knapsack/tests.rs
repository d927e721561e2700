//! `knapsack` against brute force, and on problems as large as networks are.

use super::*;
use crate::search::toy::{Toy, group};
use crate::search::{Choice, Problem};

/// A `Problem` with any costs and noises: `(bops, weights, sqnr_db)` by group and choice.
#[derive(Debug)]
struct Table {
    rows: Vec<Vec<[f64; 3]>>,
    choices: Vec<Vec<Choice>>,
    /// A cost that is not of any one group: for every neighbors of different choices.
    seam: f64,
}

const CANDIDATES: &[&str] = &["W16A16", "W8A16", "W16A8", "W8A8", "W4A8", "W4A4"];

impl Table {
    fn new(rows: Vec<Vec<[f64; 3]>>) -> Table {
        let choice = |(row, candidate): (&[f64; 3], &&str)| Choice {
            candidate: candidate.parse().unwrap(),
            sqnr_db: (row[2] != f64::INFINITY).then_some(row[2]),
            score: None,
        };
        let choices = rows.iter().map(|rows| rows.iter().zip(CANDIDATES).map(choice).collect());
        let choices = choices.collect();
        Table { rows, choices, seam: 0. }
    }

    /// Choices of any cost and noise, in steps of 1 and of `step_db`.
    fn random(seed: u64, groups: usize, choices: u64, costs: u64, step_db: f64) -> Table {
        let mut below = random_below(seed);
        let mut row = || {
            let [bops, weights] = [below(costs), below(costs)].map(|cost| cost as f64);
            let sqnr_db = if below(20) == 0 { f64::INFINITY } else { below(40) as f64 * step_db };
            [bops, weights, sqnr_db]
        };
        Table::new((0..groups).map(|_| (0..choices).map(|_| row()).collect()).collect())
    }

    /// Groups as in a network: dearer is better, roughly 6 dB a bit, with sizes far apart.
    fn network(seed: u64, groups: usize) -> Table {
        let mut below = random_below(seed);
        let group = |_| {
            let macs = (10_u64.pow(3 + below(5) as u32) * (1 + below(9))) as f64;
            let weights = (1 + below(500_000)) as f64;
            let sqnr_db = 20. + below(3000) as f64 / 100.;
            let mut choice = |(weight, activation): (f64, f64)| {
                let bits = f64::min(weight, activation);
                let luck = below(400) as f64 / 100.;
                let bops = macs * weight * activation;
                [bops, (weights * weight / 8.).ceil(), sqnr_db + 6. * (bits - 8.) + luck]
            };
            let pairs = [(16., 16.), (8., 16.), (16., 8.), (8., 8.), (4., 8.), (4., 4.)];
            pairs.map(&mut choice).to_vec()
        };
        Table::new((0..groups).map(group).collect())
    }
}

impl Problem for Table {
    fn choices(&self) -> &[Vec<Choice>] {
        &self.choices
    }

    fn costs(&self, configuration: &Configuration) -> Costs {
        let rows = || self.rows.iter().zip(&configuration.0).map(|(rows, &choice)| rows[choice]);
        let seams = configuration.0.windows(2).filter(|pair| pair[0] != pair[1]).count();
        let bops = rows().map(|row| row[0]).sum::<f64>() + self.seam * seams as f64;
        let weights = rows().map(|row| row[1]).sum();
        Costs::from([(CostMetric::BOPS, bops), (CostMetric::WEIGHTS, weights)])
    }
}

fn random_below(seed: u64) -> impl FnMut(u64) -> u64 {
    let mut state = seed;
    move |bound| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % bound
    }
}

fn goal(budgets: &[&str]) -> Goal {
    Goal {
        budgets: budgets.iter().map(|budget| budget.parse().unwrap()).collect(),
        keep_free: false,
    }
}

/// Looks at every configuration there is: the least of (noise, costs, choices) within the limits.
fn brute_force(items: &Items, limits: &Cost) -> Option<Vec<usize>> {
    let mut all = vec![vec![]];
    for group in &items.groups {
        all = all
            .iter()
            .flat_map(|prefix: &Vec<usize>| {
                (0..group.len()).map(|item| [&prefix[..], &[item]].concat()).collect::<Vec<_>>()
            })
            .collect();
    }
    let order = |a: &Vec<usize>, b: &Vec<usize>| {
        let [cost_a, cost_b] = [a, b].map(|picks| items.cost(picks));
        let costs = cost_a.partial_cmp(&cost_b).unwrap();
        items.noise(a).cmp(&items.noise(b)).then(costs).then(a.cmp(b))
    };
    let within = |picks: &Vec<usize>| (0..DIMS).all(|dim| items.cost(picks)[dim] <= limits[dim]);
    all.into_iter().filter(within).min_by(order)
}

#[test]
fn equals_brute_force() {
    let mut found = 0;
    for seed in 0..6000 {
        let mut below = random_below(seed + 1_000_000);
        let (groups, choices) = (1 + below(5) as usize, 1 + below(5));
        // Few distinct costs and noises make ties common.
        let costs = [3, 10, 1000][below(3) as usize];
        let step_db = [10., 1., 0.317][below(3) as usize];
        let table = Table::random(seed, groups, choices, costs, step_db);
        let metrics = vec![CostMetric::BOPS, CostMetric::WEIGHTS];
        let start = Configuration(vec![0; groups]);
        let items = Items::new(&table, metrics, &start, &vec![false; groups]).unwrap();
        let mut limit = || match below(3) {
            0 => f64::INFINITY,
            _ => below(costs * groups as u64) as f64 * 0.7,
        };
        let limits: Cost = std::array::from_fn(|_| limit());
        // Little room makes it decide groups first, as large problems do.
        let states = if seed % 2 == 0 { 1 } else { Effort::ONE.states };
        let solution = solve(&items, &limits, Effort { states, ..Effort::ONE });
        let expected = brute_force(&items, &limits).map(|picks| items.configuration(&picks));
        found += usize::from(expected.is_some());
        assert!(solution.iter().all(|solution| solution.gap == 0.), "seed {seed}");
        assert_eq!(
            solution.map(|solution| solution.configuration),
            expected,
            "seed {seed}: {table:?}"
        );
    }
    assert!(3000 < found, "too few of the problems can be solved: {found}");
}

#[test]
fn the_best_of_all_configurations_is_found() {
    for seed in 0..300 {
        let toy = Toy::random(seed, 1 + seed as usize % 6);
        for budgets in [&["0.6"][..], &["weights=0.7"], &["0.7", "weights=0.8"], &[]] {
            let goal = goal(budgets);
            let outcome = search(&mut toy.clone(), &goal).unwrap();
            let full = toy.full_costs();
            let is_met = |c: &&Configuration| {
                goal.budgets.iter().all(|budget| budget.is_met(&toy.costs(c), &full))
            };
            let sqnr_db = |c: &Configuration| toy.predicted_sqnr_db(c).unwrap_or(f64::INFINITY);
            let all = toy.configurations();
            let best = all.iter().filter(is_met).map(sqnr_db).max_by(f64::total_cmp);
            let found = match &outcome.answer {
                Answer::Found { configuration, .. } => Some(sqnr_db(configuration)),
                Answer::Unreachable(leasts) => {
                    assert!(leasts.iter().any(|least| !least.is_met()));
                    None
                }
            };
            // Equal but for the order of a sum.
            let is_equal = match (found, best) {
                (Some(found), Some(best)) => found == best || (found - best).abs() < 1e-9,
                (found, best) => found == best,
            };
            assert!(is_equal, "seed {seed} {budgets:?}: {found:?}, expected {best:?}");
        }
    }
}

#[test]
fn large_problems_are_solved_to_the_optimum() {
    for seed in 0..3 {
        let table = Table::network(seed, 300);
        for budgets in [&["0.5"][..], &["0.2"], &["weights=0.4"], &["0.3", "weights=0.5"]] {
            let goal = goal(budgets);
            let full = table.full_costs();
            let items = Items::new(
                &table,
                metrics(&goal, &full),
                &Configuration(vec![0; 300]),
                &[false; 300],
            );
            let items = items.unwrap();
            let effort = if budgets.len() == 1 { Effort::ONE } else { Effort::SEVERAL };
            let solution = solve(&items, &limits(&items, &goal, &full).unwrap(), effort).unwrap();
            assert!(solution.gap <= 1e-6, "seed {seed} {budgets:?}: gap {}", solution.gap);
        }
    }
}

/// With its curve, which looks at many more configurations than the answer does.
#[test]
fn a_whole_search_of_a_large_problem() {
    let mut table = Table::network(0, 300);
    let outcome = search(&mut table, &goal(&["0.3"])).unwrap();
    let Answer::Found { point, .. } = outcome.answer else { panic!("it is within") };
    assert_eq!(
        (outcome.gap, point),
        (Some(0.), outcome.curve.first_within(&goal(&["0.3"]).budgets))
    );
    assert!(600 < outcome.curve.points.len(), "{}", outcome.curve.points.len());
}

#[test]
fn the_gap_is_no_less_than_what_is_missing() {
    let mut missed = 0;
    for seed in 0..20 {
        let table = Table::network(seed, 40);
        let goal = goal(&["0.2"]);
        let full = table.full_costs();
        let start = Configuration(vec![0; 40]);
        let items = Items::new(&table, metrics(&goal, &full), &start, &[false; 40]).unwrap();
        let limits = limits(&items, &goal, &full).unwrap();
        let best = solve(&items, &limits, Effort::ONE).unwrap();
        let hasty = solve(&items, &limits, Effort { states: 1, nodes: 2, gap: 0. }).unwrap();
        let missing = (hasty.noise - best.noise) as f64 / hasty.noise as f64;
        assert!(missing <= hasty.gap + 1e-9, "seed {seed}: {missing}, gap {}", hasty.gap);
        missed += usize::from(0. < missing);
    }
    assert!(0 < missed, "the effort was too much");
}

#[test]
fn its_curve_falls_and_every_point_is_the_optimum_at_its_cost() {
    for seed in 0..40 {
        let mut toy = Toy::random(seed, 6);
        let outcome = search(&mut toy, &goal(&["0.6"])).unwrap();
        let sqnr_db = |db: Option<f64>| db.unwrap_or(f64::INFINITY);
        let cost = |costs: &Costs| costs.get(CostMetric::BOPS).unwrap();
        let points = &outcome.curve.points;
        for pair in points.windows(2) {
            assert!(cost(&pair[1].costs) < cost(&pair[0].costs), "seed {seed}");
        }
        let all = toy.configurations();
        let mut n_flips = 0;
        for point in points {
            let within = all.iter().filter(|c| cost(&toy.costs(c)) <= cost(&point.costs));
            let best = within.map(|c| sqnr_db(toy.predicted_sqnr_db(c))).max_by(f64::total_cmp);
            let (found, best) = (sqnr_db(point.predicted_sqnr_db), best.unwrap());
            assert!(found == best || best - found < 1e-9, "seed {seed}: {found}, best {best}");
            n_flips += usize::from(point.flip.is_some());
        }
        // All but the start, the answer and the one behind it.
        assert!(points.len() <= n_flips + 3, "seed {seed}: {n_flips} of {}", points.len());
    }
}

#[test]
fn with_one_budget_the_answer_is_on_the_curve() {
    for seed in 0..60 {
        let outcome = search(&mut Toy::random(seed, 7), &goal(&["0.55"])).unwrap();
        if let Answer::Found { configuration, point } = outcome.answer {
            let point = point.expect("the limit is one of the steps");
            assert_eq!(outcome.curve.configuration(point), configuration, "seed {seed}");
            assert_eq!(outcome.curve.first_within(&goal(&["0.55"]).budgets), Some(point));
        }
    }
}

#[test]
fn a_step_is_weighed_by_what_it_saves() {
    // The walk lowers the small groups first, since they are less sensitive, and then the large one
    // all the same.
    let small = &[("W8A16", 60.), ("W8A8", 40.)];
    let mut toy = Toy::new(vec![
        group(1, 1, small),
        group(1, 1, small),
        group(98, 1, &[("W8A16", 60.), ("W8A8", 35.)]),
    ]);
    let outcome = search(&mut toy, &goal(&["0.51"])).unwrap();
    let Answer::Found { configuration, .. } = outcome.answer else { panic!("it is within") };
    assert_eq!(configuration, Configuration(vec![0, 0, 1]));
    assert_eq!(outcome.gap, Some(0.));
}

#[test]
fn keep_free_leaves_groups_that_save_nothing() {
    let mut toy = Toy::new(vec![
        group(0, 0, &[("A16", 30.), ("A8", 40.)]),
        group(1, 8, &[("W8A16", 60.), ("W8A8", 50.)]),
    ]);
    for (keep_free, expected) in [(false, [1, 1]), (true, [0, 1])] {
        let outcome = search(&mut toy, &Goal { keep_free, ..goal(&["0.5"]) }).unwrap();
        let Answer::Found { configuration, .. } = outcome.answer else { panic!("it is within") };
        assert_eq!(configuration, Configuration(expected.into()), "{keep_free}");
    }
}

#[test]
fn noise_without_end_is_worse_than_any_other() {
    for worst in [f64::NEG_INFINITY, f64::NAN, -5000.] {
        let rows = vec![
            vec![[2., 0., 30.], [1., 0., worst]],
            vec![[2., 0., 20.], [1., 0., -90.]],
            vec![[1., 0., 10.001], [1., 0., 10.]],
        ];
        let outcome = search(&mut Table::new(rows), &goal(&["bops=0.8"])).unwrap();
        let Answer::Found { configuration, .. } = outcome.answer else { panic!("it is within") };
        assert_eq!(configuration, Configuration(vec![0, 1, 0]), "{worst}");
    }
}

#[test]
fn budgets_that_exclude_each_other_say_so() {
    let rows = vec![vec![[10., 10., 30.], [1., 10., 30.], [10., 1., 30.]]];
    let goal = goal(&["0.5", "weights=0.5"]);
    let Ok(Outcome { answer: Answer::Unreachable(leasts), .. }) =
        search(&mut Table::new(rows), &goal)
    else {
        panic!("nothing is within both")
    };
    assert_eq!(
        leasts.iter().map(Least::to_string).collect::<Vec<_>>(),
        [
            "budget `bops=0.5` can be met alone, the least is `bops=0.1`; nearest to all it is `bops=0.1`",
            "budget `weights=0.5` can be met alone, the least is `weights=0.1`; nearest to all it is \
             `weights=1`",
        ]
    );
}

/// Thirds and sevenths: their sum in another order is another number, and that of nothing is not 0.
#[test]
fn fractions_are_summed_up_to_their_rounding() {
    let parts = [1. / 3., 1. / 7., 0.1, 1. - 1. / 3. - 1. / 7. - 0.1];
    let rows = parts.map(|part| vec![[part, 1., 30.], [0., 1., 20.]]);
    for (limit, expected) in [(0., [1, 1, 1, 1]), (1. / 7. + 0.1, [1, 0, 0, 1]), (2., [0; 4])] {
        let budget = Budget { metric: CostMetric::BOPS, limit: Amount::Absolute(limit) };
        let goal = Goal { budgets: vec![budget], keep_free: false };
        let outcome = search(&mut Table::new(rows.to_vec()), &goal).unwrap();
        let Answer::Found { configuration, .. } = outcome.answer else { panic!("{limit}") };
        assert_eq!(configuration, Configuration(expected.into()), "{limit}");
    }
}

#[test]
fn costs_that_are_no_sums_are_refused() {
    let rows = vec![vec![[10., 1., 30.], [5., 1., 20.]]; 3];
    let mut table = Table { seam: 1., ..Table::new(rows) };
    let error = search(&mut table, &goal(&["0.7"])).unwrap_err();
    assert_eq!(
        error.to_string(),
        "cost `bops` of a configuration is 15, expected 19, the sum over its groups"
    );
    let goal = goal(&["0.7", "conversions=3", "activations=2MiB", "conversions=4"]);
    let error = search(&mut table, &goal).unwrap_err();
    assert_eq!(
        error.to_string(),
        "`knapsack` adds up what groups cost, and budgeted `activations` and `conversions` are no such \
         sum\nhint: use --strategy pareto, refine or best"
    );
}
