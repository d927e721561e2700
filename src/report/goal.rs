//! What a search for a quality came to, and which uniform candidate would do as well.

use crate::artifact::{Baseline, Config, CurvePoint, Ordered};
use crate::report::evaluation::cell;
use crate::report::number::{decibels, plural};

/// A quality that was asked for, as the file tells it.
enum Wanted<'a> {
    Sqnr { least_db: f64 },
    Drop { metric: &'a str, most: f64, float: f64 },
}

/// The quality goal of a file; `None` where budgets are all.
fn wanted(config: &Config) -> Option<Wanted<'_>> {
    let goal = &config.goal;
    goal.requested.iter().zip(&goal.achieved).find_map(|(requested, achieved)| {
        let asked = requested.absolute?;
        if requested.metric == "sqnr_db" {
            return Some(Wanted::Sqnr { least_db: asked });
        }
        let metric = requested.metric.strip_suffix("_drop")?;
        let float = config.quality.metrics.get(metric)? + achieved.absolute?;
        Some(Wanted::Drop { metric, most: asked, float })
    })
}

/// What differences of rounded numbers may be off by.
const SLACK: f64 = 2e-9;

impl Wanted<'_> {
    /// No SQNR is no noise at all, as it was measured.
    fn is_met(&self, sqnr_db: Option<f64>, metrics: &Ordered<f64>) -> bool {
        match self {
            Wanted::Sqnr { least_db } => sqnr_db.is_none_or(|sqnr_db| *least_db <= sqnr_db),
            Wanted::Drop { metric, most, float } => {
                metrics.get(metric).is_some_and(|value| float - value <= most + SLACK)
            }
        }
    }

    fn value(&self, sqnr_db: Option<f64>, metrics: &Ordered<f64>) -> String {
        match self {
            Wanted::Sqnr { .. } => decibels(sqnr_db),
            Wanted::Drop { metric, .. } => cell(metric, metrics.get(metric).copied()),
        }
    }

    fn text(&self) -> String {
        match self {
            Wanted::Sqnr { least_db } => {
                format!("an SQNR of at least {}", decibels(Some(*least_db)))
            }
            Wanted::Drop { metric, most, float } => {
                let [most, float] = [most, float].map(|&value| cell(metric, Some(value)));
                format!("{metric} at most {most} below the {float} of the float network")
            }
        }
    }
}

/// The goal, how it was looked for, and the points on both sides of it; ends in a newline, empty
/// where budgets are all.
pub(super) fn goal(config: &Config) -> String {
    let (Some(wanted), Some(chosen)) = (wanted(config), config.chosen_point) else {
        return String::new();
    };
    let probe = config.settings.probe.as_deref().unwrap_or("unknown");
    let evaluations = plural(config.goal.evaluations, "configuration");
    let quality = &config.quality;
    let value = wanted.value(quality.sqnr_db, &quality.metrics);
    let last = config.curve.len().saturating_sub(1);
    let point = match missed(config, &wanted, chosen) {
        _ if chosen == last as u64 => {
            format!("point {chosen}, the cheapest, meets it already with {value}")
        }
        Some((at, missing)) => format!(
            "point {chosen} of {last} meets it with {value} and the cheaper point {at} misses it with \
             {missing}"
        ),
        None => format!("point {chosen} of {last} meets it with {value}"),
    };
    format!("goal: {}; probe {probe} measured {evaluations}\n{point}\n", wanted.text())
}

/// The first measured point after the chosen one, if it misses the goal: its number and value.
fn missed(config: &Config, wanted: &Wanted<'_>, chosen: u64) -> Option<(usize, String)> {
    let after = usize::try_from(chosen).ok()?.checked_add(1)?;
    let points = config.curve.iter().enumerate().skip(after);
    let measured = |(at, point): (usize, &CurvePoint)| Some((at, point.measured.clone()?));
    let (at, measured) = points.filter_map(measured).next()?;
    let is_met = wanted.is_met(measured.sqnr_db, &measured.metrics);
    (!is_met).then(|| (at, wanted.value(measured.sqnr_db, &measured.metrics)))
}

/// Where a quality was asked for: the cheapest uniform candidate that has it and all else that was
/// asked for, if it takes fewer BOPs than the result.
pub fn cheaper_baseline(config: &Config) -> Option<&Baseline> {
    let wanted = wanted(config)?;
    let fits = |baseline: &&Baseline| {
        let quality = &baseline.quality;
        wanted.is_met(quality.sqnr_db, &quality.metrics)
            && baseline.cost.bops < config.cost.bops
            && baseline.within_budgets
    };
    config.baselines.iter().filter(fits).min_by_key(|baseline| baseline.cost.bops)
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;
    use crate::artifact::{Achieved, Measured, Requested, example};

    /// The example's curve with its chosen point at 1, and a third that was measured.
    fn config(metric: &str, asked: f64, achieved: f64) -> Config {
        let mut config = example::config();
        let metric = metric.to_owned();
        let (relative, absolute) = (None, Some(asked));
        let requested = Requested { metric: metric.clone(), relative, absolute };
        config.goal.requested.push(requested);
        config.goal.achieved.push(Achieved { metric, relative, absolute: Some(achieved) });
        config.goal.evaluations = 4;
        config.settings.probe = Some("hybrid".to_owned());
        config.quality.metrics = [("top1", 0.83)].into_iter().collect();
        let mut cheaper = config.curve[1].clone();
        let metrics = [("top1", 0.81)].into_iter().collect();
        cheaper.measured = Some(Measured { sqnr_db: Some(28.5), metrics });
        config.curve.push(cheaper);
        config
    }

    #[test]
    fn both_sides_of_the_goal() {
        expect![[r#"
            goal: an SQNR of at least 30.00 dB; probe hybrid measured 4 configurations
            point 1 of 2 meets it with 31.20 dB and the cheaper point 2 misses it with 28.50 dB
        "#]]
        .assert_eq(&goal(&config("sqnr_db", 30., 31.2)));
        expect![[r#"
            goal: top1 at most 1.00 % below the 83.40 % of the float network; probe hybrid measured 4 configurations
            point 1 of 2 meets it with 83.00 % and the cheaper point 2 misses it with 81.00 %
        "#]]
        .assert_eq(&goal(&config("top1_drop", 0.01, 0.004)));
        let mut last = config("sqnr_db", 10., 31.2);
        last.curve.pop();
        expect![[r#"
            goal: an SQNR of at least 10.00 dB; probe hybrid measured 4 configurations
            point 1, the cheapest, meets it already with 31.20 dB
        "#]]
        .assert_eq(&goal(&last));
        assert_eq!(goal(&example::config()), "");
    }

    #[test]
    fn a_uniform_candidate_that_does_as_well_for_less() {
        let mut config = config("sqnr_db", 29., 31.2);
        assert_eq!(cheaper_baseline(&config), None);
        config.baselines[0].cost.bops = 1;
        assert!(cheaper_baseline(&config).is_some());
        config.baselines[0].quality.sqnr_db = Some(28.);
        assert_eq!(cheaper_baseline(&config), None);
    }
}
