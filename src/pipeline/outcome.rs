//! A search from Phase 1's result to the `config` file.

use crate::artifact::{self, Artifact as _, Config, Ordered};
use crate::cost::Cost;
use crate::pipeline::artifacts::{self, Head};
use crate::pipeline::conversions::conversions;
use crate::pipeline::encoded;
use crate::pipeline::{Network, PipelineError, Study};
use crate::quant::Bits;
use crate::search::{
    Amount, Answer, Budget, Configuration, CostMetric, Costs, Goal, Least, Missed, Outcome, Point,
    Probe, Probed, Problem as _, Quality, QualityGoal, Strategy, Tried, probe,
};

/// What a search came to.
#[derive(Debug, Clone, PartialEq)]
pub enum Searched {
    Found {
        config: Box<Config>,
        /// What was compared, if that is how the answer was found.
        tried: Vec<Tried>,
    },
    /// What can be reached at best, for every budget.
    Unreachable(Vec<Least>),
    /// The quality that is wanted is out of reach.
    Missed(Missed),
}

/// Phase 2: finds a configuration, then measures it and the uniform baselines.
pub fn search(
    study: &mut Study<'_>,
    strategy: &Strategy,
    goal: &Goal,
    head: Head,
) -> Result<Searched, PipelineError> {
    let outcome = (strategy.search)(study, goal).map_err(PipelineError::Search)?;
    let (configuration, point) = match &outcome.answer {
        Answer::Found { configuration, point } => (configuration.clone(), *point),
        Answer::Unreachable(least) => return Ok(Searched::Unreachable(least.clone())),
    };
    let writer = Writer { study, outcome: &outcome, quality: None, full: study.full_cost() };
    let config = writer.config(strategy, goal, head, &configuration, point)?;
    Ok(Searched::Found { config: Box::new(config), tried: outcome.tried })
}

/// Phase 2 for a quality: finds the point of the strategy's curve that only just has it, within the
/// budgets of `goal` if there are any.
pub fn search_quality(
    study: &mut Study<'_>,
    strategy: &Strategy,
    goal: &Goal,
    (quality, row): (&QualityGoal, &Probe),
    head: Head,
) -> Result<Searched, PipelineError> {
    let outcome = match probe(study, strategy, goal, quality, row).map_err(PipelineError::Search)? {
        Probed::Found(outcome) => outcome,
        Probed::Unreachable(leasts) => return Ok(Searched::Unreachable(leasts)),
        Probed::Missed(missed) => return Ok(Searched::Missed(missed)),
    };
    let (configuration, point) = match &outcome.answer {
        Answer::Found { configuration, point } => (configuration.clone(), *point),
        Answer::Unreachable(least) => return Ok(Searched::Unreachable(least.clone())),
    };
    let full = study.full_cost();
    let writer = Writer { study, outcome: &outcome, quality: Some(quality), full };
    let probe = Some(row.name.to_owned());
    let head = Head { settings: artifact::Settings { probe, ..head.settings }, ..head };
    let config = writer.config(strategy, goal, head, &configuration, point)?;
    Ok(Searched::Found { config: Box::new(config), tried: Vec::new() })
}

struct Writer<'s, 'a> {
    study: &'s Study<'a>,
    outcome: &'s Outcome,
    /// What was probed for.
    quality: Option<&'s QualityGoal>,
    full: Cost,
}

impl Writer<'_, '_> {
    fn config(
        &self,
        strategy: &Strategy,
        goal: &Goal,
        head: Head,
        configuration: &Configuration,
        point: Option<usize>,
    ) -> Result<Config, PipelineError> {
        let listed = self.study.network.settings.candidates.as_slice();
        let mut to_measure = vec![configuration.clone()];
        to_measure.extend(listed.iter().map(|&candidate| self.study.uniform(candidate)));
        let mut measured = self.study.measure_all(&to_measure, "Measuring")?;
        let baselines = measured.split_off(1);
        let cost = self.study.cost(configuration);
        let costs = self.study.costs(configuration);
        let quality = &measured[0];
        let settings =
            artifact::Settings { strategy: Some(strategy.name.to_owned()), ..head.settings };
        Ok(Config {
            schema: Config::schema(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            model: head.model,
            calibration: head.calibration,
            settings,
            candidates: listed.to_vec(),
            goal: self.goal(goal, &costs, quality.as_ref()),
            cost: self.total_cost(&cost, &costs),
            quality: self.quality(configuration, quality.as_ref()),
            baselines: listed
                .iter()
                .zip(&to_measure[1..])
                .zip(&baselines)
                .map(|((&candidate, configuration), quality)| artifact::Baseline {
                    candidate,
                    within_budgets: self.is_within(goal, configuration),
                    cost: self.point_cost(&self.study.cost(configuration)),
                    quality: self.quality(configuration, quality.as_ref()),
                })
                .collect(),
            curve: self.curve(),
            chosen_point: point.map(|point| point as u64),
            groups: self.groups(configuration),
            conversions: self.conversions(configuration),
            encodings: encoded::chosen_encodings(
                self.study.network,
                self.study.encodings,
                &self.study.candidates(configuration),
            ),
        })
    }

    fn is_within(&self, goal: &Goal, configuration: &Configuration) -> bool {
        let (costs, full) = (self.study.costs(configuration), self.study.full_costs());
        goal.budgets.iter().all(|budget| budget.is_met(&costs, &full))
    }

    fn goal(&self, goal: &Goal, costs: &Costs, quality: Option<&Quality>) -> artifact::Goal {
        let requested = |budget: &Budget| {
            let (relative, absolute) = match budget.limit {
                Amount::Relative(value) => (Some(value), None),
                Amount::Absolute(value) => (None, Some(value)),
            };
            let metric = budget.metric.name().to_owned();
            artifact::Requested { metric, relative, absolute }
        };
        let full = self.study.full_costs();
        let achieved = |budget: &Budget| {
            let metric = budget.metric;
            let [used, full] = [costs, &full].map(|costs| costs.get(metric));
            let relative = used.zip(full).filter(|(_, full)| *full != 0.);
            artifact::Achieved {
                metric: metric.name().to_owned(),
                relative: relative.map(|(used, full)| used / full),
                absolute: used,
            }
        };
        let (wanted, found) = self.quality.map(|goal| quality_goal(goal, quality)).unzip();
        artifact::Goal {
            requested: goal.budgets.iter().map(requested).chain(wanted).collect(),
            achieved: goal.budgets.iter().map(achieved).chain(found).collect(),
            evaluations: self.outcome.evaluations as u64,
            gap: self.outcome.gap,
        }
    }

    fn total_cost(&self, cost: &Cost, costs: &Costs) -> artifact::TotalCost {
        let other = |name| costs.get(CostMetric::find(name)?);
        artifact::TotalCost {
            macs: cost.macs,
            bops: cost.bops,
            relative_bops: ratio(cost.bops, self.full.bops),
            relative_bops_to_w8a8: ratio(cost.bops, self.study.w8a8_cost().bops),
            weight_bytes: cost.weight_bytes,
            relative_weight_bytes: ratio(cost.weight_bytes, self.full.weight_bytes),
            activation_bytes: cost.activation_bytes,
            conversions: cost.conversions,
            conversion_cost: other("conversion-cost"),
            average_bits: other("average-bits"),
            a16_share: other("a16"),
            latency_ms: other("latency"),
        }
    }

    fn conversions(&self, configuration: &Configuration) -> Vec<artifact::Conversion> {
        let Network { graph, placement, groups, .. } = self.study.network;
        let candidates = self.study.candidates(configuration);
        let bits = |value| {
            let group = groups.groups.iter().position(|group| group.activations.contains(&value));
            group.map_or(Bits::FLOAT, |group| candidates[group].activation)
        };
        conversions(graph, placement, bits)
    }

    fn point_cost(&self, cost: &Cost) -> artifact::PointCost {
        artifact::PointCost {
            bops: cost.bops,
            relative_bops: ratio(cost.bops, self.full.bops),
            weight_bytes: cost.weight_bytes,
        }
    }

    fn quality(
        &self,
        configuration: &Configuration,
        quality: Option<&Quality>,
    ) -> artifact::Quality {
        artifact::Quality {
            sqnr_db: quality.and_then(|quality| quality.sqnr_db),
            predicted_sqnr_db: self.study.predicted_sqnr_db(configuration),
            metrics: quality.map_or_else(Ordered::new, metrics),
        }
    }

    /// With what is known of every point: probes and baselines may have measured some.
    fn curve(&self) -> Vec<artifact::CurvePoint> {
        let curve = &self.outcome.curve;
        let groups = &self.study.network.groups.groups;
        let choices = self.study.choices();
        let write = |point: &Point| {
            let measured = self.study.known(&point.configuration);
            artifact::CurvePoint {
                flip: point.flip.map(|flip| artifact::Flip {
                    group: groups[flip.group].id.clone(),
                    from: choices[flip.group][flip.from].candidate,
                    to: choices[flip.group][flip.to].candidate,
                }),
                cost: self.point_cost(&self.study.cost(&point.configuration)),
                predicted_sqnr_db: point.predicted_sqnr_db,
                measured: measured.map(|quality| artifact::Measured {
                    sqnr_db: quality.sqnr_db,
                    metrics: metrics(&quality),
                }),
            }
        };
        curve.points.iter().map(write).collect()
    }

    fn groups(&self, configuration: &Configuration) -> Vec<artifact::Group> {
        let candidates = self.study.candidates(configuration);
        let network = self.study.network;
        let write = |(index, group): (usize, &crate::quant::Group)| {
            let names = artifacts::GroupNames::new(&network.graph, &network.placement, group);
            let choices = self.study.choices()[index].iter();
            artifact::Group {
                id: group.id.clone(),
                candidate: candidates[index],
                weight_bits: candidates[index].weight,
                activation_bits: candidates[index].activation,
                nodes: names.nodes,
                activations: names.activations,
                weights: names.weights,
                weight_elements: group.weight_elements,
                macs: group.weight_macs + group.product_macs,
                product_macs: group.product_macs,
                sqnr_db: choices
                    .map(|choice| (choice.candidate.to_string(), choice.sqnr_db))
                    .collect(),
                pinned: group.is_pinned,
                tied_by: group.tied_by.clone(),
            }
        };
        network.groups.groups.iter().enumerate().map(write).collect()
    }
}

/// What was wanted and what there is. A drop is told as such, its metric is in the name.
fn quality_goal(
    goal: &QualityGoal,
    quality: Option<&Quality>,
) -> (artifact::Requested, artifact::Achieved) {
    let value = quality.map(|quality| goal.value(quality)).filter(|value| value.is_finite());
    let (metric, wanted, found) = match goal {
        QualityGoal::Sqnr { least_db } => ("sqnr_db".to_owned(), *least_db, value),
        QualityGoal::Drop { metric, float, most } => {
            (format!("{metric}_drop"), *most, value.map(|value| float - value))
        }
    };
    let requested =
        artifact::Requested { metric: metric.clone(), relative: None, absolute: Some(wanted) };
    (requested, artifact::Achieved { metric, relative: None, absolute: found })
}

fn metrics(quality: &Quality) -> Ordered<f64> {
    quality.metrics.iter().cloned().collect()
}

fn ratio(part: u64, whole: u64) -> Option<f64> {
    (whole != 0).then(|| part as f64 / whole as f64)
}
