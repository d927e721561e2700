//! [`Study`]: a network that was calibrated and measured, as the `Problem` that strategies see.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use crate::cost::{Cost, CostModel, Latency, uniform, unrestricted};
use crate::data::Feed;
use crate::exec::Engine;
use crate::graph::ValueId;
use crate::pipeline::{Kept, Network, PipelineError, Resources, Scorer, encoded};
use crate::progress::Progress;
use crate::quant::{
    Calibration, Candidate, Encodings, Group, Rounded, Simulator, calibrate, node_macs,
};
use crate::search::{
    Budget, Choice, Configuration, CostMetric, Costs, Problem, Quality, SearchError,
};
use crate::sensitivity::{
    Floats, Ledger, MOST_TOGETHER, Measurer, Plan, Powers, Sensitivity, Setup,
};

/// What Phase 1 came to, with what Phase 2 needs.
pub struct Study<'a> {
    pub network: &'a Network,
    pub encodings: &'a Encodings,
    pub sensitivity: &'a Sensitivity,
    pub costs: CostModel<'a>,
    choices: Vec<Vec<Choice>>,
    measuring: Option<Measuring<'a>>,
    scorer: Option<&'a Scorer<'a>>,
    /// What whole configurations are compared with.
    floats: Option<Floats>,
    /// What was measured so far: strategies and the result ask for the same configurations.
    measured: RefCell<BTreeMap<Configuration, Quality>>,
}

/// What it takes to measure more.
#[derive(Clone, Copy)]
pub struct Measuring<'a> {
    pub simulator: &'a Simulator<'a>,
    /// The weights that the simulator was made with.
    pub rounded: Option<&'a Rounded>,
    pub engine: &'a dyn Engine,
    pub feed: &'a Feed<'a>,
    /// What earlier runs measured, and where it is kept.
    pub kept: Option<&'a Kept>,
    pub resources: Resources,
    pub progress: &'a dyn Progress,
}

impl Network {
    /// The engine that runs it.
    pub fn engine(&self, resources: Resources) -> Box<dyn Engine + '_> {
        let kind = self.settings.engine;
        kind.start(&self.graph, resources.memory_bytes, &self.placement.activations)
    }

    /// Ranges and encodings of all quantizers.
    pub fn calibrate(
        &self,
        engine: &dyn Engine,
        feed: &Feed<'_>,
        kept: Option<&Kept>,
        progress: &dyn Progress,
    ) -> Result<Encodings, PipelineError> {
        if let Some(encodings) = kept.and_then(|kept| kept.encodings(self)) {
            progress.begin("Calibration", feed.len() as u64);
            progress.skip(feed.len() as u64);
            progress.finish();
            return Ok(encodings);
        }
        let calibration = Calibration {
            graph: &self.graph,
            placement: &self.placement,
            groups: &self.groups,
            target: &self.settings.target,
            methods: self.settings.ranges,
        };
        let encodings = calibrate(&calibration, engine, feed, progress);
        let encodings = encodings.map_err(PipelineError::Calibration)?;
        if let Some(kept) = kept {
            kept.keep_encodings(&encodings);
        }
        Ok(encodings)
    }

    /// Weights are rounded to nearest where `rounded` has none.
    pub fn simulator(&self, encodings: &Encodings, rounded: Option<&Rounded>) -> Simulator<'_> {
        Simulator::new(&self.graph, &self.placement, &self.groups, encodings, rounded)
    }

    /// # Errors
    /// If the cost table leaves a unit out.
    pub fn cost_model(&self) -> Result<CostModel<'_>, PipelineError> {
        let Network { graph, types, placement, groups, settings, .. } = self;
        let most_precise = settings.candidates.most_precise();
        let latency = settings.cost_table.as_ref().map(|table| {
            Latency::new(graph, types, placement, groups, table, most_precise)
                .map_err(PipelineError::CostTable)
        });
        let per_channel = settings.ranges.per_channel;
        let model = CostModel::new(graph, types, placement, groups, per_channel);
        Ok(model.with_latency(latency.transpose()?).with_prices(&settings.target.conversions))
    }

    /// Whether the costs that have budgets are known, before the long work.
    pub fn check_budgets(&self, budgets: &[Budget]) -> Result<(), PipelineError> {
        let model = self.cost_model()?;
        let most_precise = self.settings.candidates.most_precise();
        let costs = costs(&model, &unrestricted(&self.groups, most_precise));
        let unknown = budgets.iter().find(|budget| costs.get(budget.metric).is_none());
        let error = |budget: &Budget| SearchError::UnknownCost { metric: budget.metric };
        unknown.map_or(Ok(()), |budget| Err(PipelineError::Search(error(budget))))
    }

    /// Phase 1.
    pub fn sensitivity(&self, measuring: &Measuring<'_>) -> Result<Sensitivity, PipelineError> {
        let measurer = Measurer::new(self.setup(measuring)?);
        measurer.sensitivity(measuring.progress).map_err(PipelineError::Measure)
    }

    /// Phase 1 as it is shared out among machines, and what measures it.
    pub fn plan<'m>(
        &'m self,
        measuring: &Measuring<'m>,
    ) -> Result<(Plan, Measurer<'m>), PipelineError> {
        let measurer = Measurer::new(self.setup(measuring)?);
        Ok((measurer.plan(), measurer))
    }

    fn setup<'m>(&'m self, measuring: &Measuring<'m>) -> Result<Setup<'m>, PipelineError> {
        Ok(Setup {
            engine: measuring.engine,
            simulator: measuring.simulator,
            groups: &self.groups,
            feed: measuring.feed,
            outputs: &self.outputs,
            block: self.block(measuring.resources)?,
            cone_macs: self.cone_macs(),
            float_macs: self.graph.nodes().map(|(_, node)| node_macs(&self.types, node)).sum(),
            floats: None,
            ledger: measuring.kept.map(|kept| kept as &dyn Ledger),
        })
    }

    /// For every group the multiply-accumulates of all that depends on it.
    fn cone_macs(&self) -> Vec<u64> {
        let cone = |group: &Group| {
            let sites = group.weights.iter().map(|&index| self.placement.weights[index].value);
            let operands = group.operands.iter().map(|&index| self.placement.operands[index].value);
            let changed = group.activations.iter().copied().chain(sites).chain(operands);
            let nodes = self.graph.dependents(changed);
            nodes.map(|(_, node)| node_macs(&self.types, node)).sum()
        };
        self.groups.groups.iter().map(cone).collect()
    }

    /// How many passes' activations are held at once; 0 if every measurement is a whole pass.
    fn block(&self, resources: Resources) -> Result<usize, PipelineError> {
        let (memory, limit) = (self.memory(), resources.memory_bytes);
        let threads = rayon::current_num_threads();
        let running = memory.used(threads, 0);
        if limit < running {
            return Err(PipelineError::Memory { needed: running, limit });
        }
        let affordable = (limit - running) / memory.held.max(1);
        let wanted = resources.batch.unwrap_or((2 * threads).max(MOST_TOGETHER));
        Ok(wanted.min(affordable))
    }

    /// What may be held besides a pass on each thread that keeps all its activations.
    pub(super) fn bytes_beside_passes(&self, resources: Resources) -> Result<usize, PipelineError> {
        let memory = self.memory();
        let threads = rayon::current_num_threads();
        let needed = memory.used(threads, threads);
        let limit = resources.memory_bytes;
        limit.checked_sub(needed).ok_or(PipelineError::Memory { needed, limit })
    }

    /// What may be held besides the activations that are held at once.
    pub fn spare_bytes(&self, resources: Resources) -> usize {
        let memory = self.memory();
        let used = |block| memory.used(rayon::current_num_threads(), block);
        let used = self.block(resources).map(used);
        used.map_or(0, |used| resources.memory_bytes.saturating_sub(used))
    }

    fn memory(&self) -> Memory {
        let size = |id: ValueId| self.types.get(id).map_or(0, |ty| ty.size_bytes());
        let total = |sizes: &mut dyn Iterator<Item = usize>| sizes.fold(0, usize::saturating_add);
        let made = self.graph.value_ids().filter(|&id| self.graph.constant(id).is_none());
        let constants = self.graph.value_ids().filter(|&id| self.graph.constant(id).is_some());
        let n_widths = |group: &Group| {
            let widths = group.choices.iter().filter_map(|choice| choice.weight);
            widths.collect::<BTreeSet<_>>().len()
        };
        let rounded = self.groups.groups.iter().flat_map(|group| {
            let sites = group.weights.iter().map(|&index| self.placement.weights[index].value);
            sites.map(move |site| size(site).saturating_mul(n_widths(group)))
        });
        let rounded = total(&mut rounded.into_iter());
        let integers = if self.settings.rounding.is_nearest() { 0 } else { rounded / 2 };
        // Constants as they are, packed, and packed once more for each width; integers have 16 bits.
        let constants = total(&mut constants.map(size)).saturating_mul(2);
        let outputs = total(&mut self.graph.outputs().iter().map(|&id| size(id)));
        let live = self.graph.most_live_bytes(size).saturating_add(outputs);
        Memory {
            constants: total(&mut [PROGRAM_BYTES, constants, rounded, integers].into_iter()),
            // Memory that is used again fits no value exactly, and is kept; outputs are there in
            // float, changed, and as they lay before they became tensors.
            running: live.saturating_mul(3).saturating_add(SAMPLE_BYTES),
            held: total(&mut made.map(size)),
        }
    }
}

/// What the program takes without any network, with its stacks and tables.
const PROGRAM_BYTES: usize = 20 << 20;

/// What reading a sample takes besides the network's inputs.
const SAMPLE_BYTES: usize = 1 << 20;

/// Bytes that measuring takes.
struct Memory {
    /// What is there in any case.
    constants: usize,
    /// For a pass that runs.
    running: usize,
    /// For a pass whose activations are all kept.
    held: usize,
}

impl Memory {
    /// With so many passes running, and the activations of so many held.
    fn used(&self, running: usize, held: usize) -> usize {
        let passes =
            [(running, self.running), (held, self.held)].map(|(n, each)| n.saturating_mul(each));
        passes.into_iter().fold(self.constants, usize::saturating_add)
    }
}

impl<'a> Study<'a> {
    /// Without `measuring`, only what Phase 1 measured is known.
    pub fn new(
        network: &'a Network,
        encodings: &'a Encodings,
        sensitivity: &'a Sensitivity,
        measuring: Option<Measuring<'a>>,
    ) -> Result<Study<'a>, PipelineError> {
        let aggregation = network.settings.aggregation;
        let choice = |measurement: &crate::sensitivity::Measurement| {
            let sqnr_db = sensitivity.sqnr_db(&measurement.noise, aggregation);
            Ok(Choice { candidate: measurement.candidate, sqnr_db: sqnr_db?, score: None })
        };
        let group = |group: &Vec<crate::sensitivity::Measurement>| {
            group.iter().map(choice).collect::<Result<Vec<Choice>, _>>()
        };
        let choices = sensitivity.groups.iter().map(group).collect::<Result<_, _>>();
        Ok(Study {
            network,
            encodings,
            sensitivity,
            costs: network.cost_model()?,
            choices: choices.map_err(PipelineError::Sqnr)?,
            measuring,
            floats: measuring.map(|measuring| {
                let room_bytes = network.spare_bytes(measuring.resources) / 4;
                Floats::new(measuring.feed.len(), room_bytes)
            }),
            scorer: None,
            measured: RefCell::default(),
        })
    }

    /// The same with a list in the order of scores, by group and choice, in place of SQNRs.
    pub fn ranked(mut self, scores: Option<Vec<Vec<f64>>>) -> Study<'a> {
        for (choices, scores) in self.choices.iter_mut().zip(scores.into_iter().flatten()) {
            let choices = choices.iter_mut().zip(scores);
            choices.for_each(|(choice, score)| choice.score = Some(score));
        }
        self
    }

    /// The same, where everything that is measured is scored as well.
    pub fn with_scorer(self, scorer: Option<&'a Scorer<'a>>) -> Study<'a> {
        Study { scorer, ..self }
    }

    /// What weights are rounded to, where not to nearest.
    pub fn rounded(&self) -> Option<&'a Rounded> {
        self.measuring.and_then(|measuring| measuring.rounded)
    }

    pub fn can_measure(&self) -> bool {
        self.measuring.is_some()
    }

    /// The candidate of every group.
    pub fn candidates(&self, configuration: &Configuration) -> Vec<Candidate> {
        let chosen = self.choices.iter().zip(&configuration.0);
        chosen.map(|(choices, &choice)| choices[choice].candidate).collect()
    }

    pub fn cost(&self, configuration: &Configuration) -> Cost {
        self.costs.cost(&self.candidates(configuration))
    }

    /// Every group at a listed candidate, or the nearest more precise one that it may take.
    pub fn uniform(&self, candidate: Candidate) -> Configuration {
        let candidates = uniform(&self.network.groups, candidate);
        let index = |(choices, wanted): (&Vec<Choice>, Candidate)| {
            let found = choices.iter().position(|choice| choice.candidate == wanted);
            found.expect("it is one of the group's choices")
        };
        Configuration(self.choices.iter().zip(candidates).map(index).collect())
    }

    /// What relative costs are fractions of.
    pub fn full_cost(&self) -> Cost {
        let most_precise = self.network.settings.candidates.most_precise();
        self.costs.cost(&unrestricted(&self.network.groups, most_precise))
    }

    /// What every group at 8 bits costs, whether it may or not.
    pub fn w8a8_cost(&self) -> Cost {
        let bits = crate::quant::Bits::new(8).expect("8 bits are valid");
        self.costs.cost(&unrestricted(&self.network.groups, Candidate::pair(bits, bits)))
    }

    /// Runs configurations, each once; `None` for each if nothing can be measured here.
    pub fn measure_all(
        &self,
        configurations: &[Configuration],
        phase: &str,
    ) -> Result<Vec<Option<Quality>>, PipelineError> {
        if let Some(measuring) = &self.measuring {
            self.measure_new(measuring, configurations, phase)?;
        }
        let measured = self.measured.borrow();
        Ok(configurations.iter().map(|known| measured.get(known).cloned()).collect())
    }

    fn measure_new(
        &self,
        measuring: &Measuring<'_>,
        configurations: &[Configuration],
        phase: &str,
    ) -> Result<(), PipelineError> {
        let mut new = configurations.to_vec();
        new.sort();
        new.dedup();
        new.retain(|configuration| !self.measured.borrow().contains_key(configuration));
        if new.is_empty() {
            return Ok(());
        }
        let candidates: Vec<Vec<Candidate>> =
            new.iter().map(|configuration| self.candidates(configuration)).collect();
        let measurer = self.measurer(measuring)?;
        let (_, noises) = measurer
            .configurations(&candidates, phase, measuring.progress)
            .map_err(PipelineError::Measure)?;
        for ((configuration, noise), candidates) in new.into_iter().zip(&noises).zip(&candidates) {
            let quality = self.quality(noise, candidates)?;
            self.measured.borrow_mut().insert(configuration, quality);
        }
        Ok(())
    }

    fn measurer(&self, measuring: &Measuring<'a>) -> Result<Measurer<'_>, PipelineError> {
        let setup = self.network.setup(measuring)?;
        Ok(Measurer::new(Setup { floats: self.floats.as_ref(), ..setup }))
    }

    /// What a configuration that was measured before came to.
    pub(super) fn known(&self, configuration: &Configuration) -> Option<Quality> {
        self.measured.borrow().get(configuration).cloned()
    }

    fn quality(&self, noise: &Powers, candidates: &[Candidate]) -> Result<Quality, PipelineError> {
        let aggregation = self.network.settings.aggregation;
        let sqnr_db = self.sensitivity.sqnr_db(noise, aggregation).map_err(PipelineError::Sqnr)?;
        let encodings = || encoded::chosen_encodings(self.network, self.encodings, candidates);
        let rounded = self.rounded();
        let metrics = self.scorer.map(|scorer| scorer.score(&encodings(), rounded)).transpose()?;
        Ok(Quality { sqnr_db, metrics: metrics.unwrap_or_default() })
    }
}

impl Problem for Study<'_> {
    fn choices(&self) -> &[Vec<Choice>] {
        &self.choices
    }

    fn costs(&self, configuration: &Configuration) -> Costs {
        costs(&self.costs, &self.candidates(configuration))
    }

    fn full_costs(&self) -> Costs {
        let most_precise = self.network.settings.candidates.most_precise();
        costs(&self.costs, &unrestricted(&self.network.groups, most_precise))
    }

    fn predicted_sqnr_db(&self, configuration: &Configuration) -> Option<f64> {
        let noise = self.sensitivity.predicted_noise(&configuration.0);
        let sqnr_db = self.sensitivity.sqnr_db(&noise, self.network.settings.aggregation);
        sqnr_db.expect("the signal was found to be there when the study was made")
    }

    fn uniform(&self) -> Vec<(Candidate, Configuration)> {
        let listed = self.network.settings.candidates.as_slice().iter();
        listed.map(|&candidate| (candidate, self.uniform(candidate))).collect()
    }

    fn measure(&mut self, configuration: &Configuration) -> Result<Quality, SearchError> {
        let measured = self.measure_all(std::slice::from_ref(configuration), "Measuring");
        let measured = measured.map_err(|source| SearchError::Measure { source: source.into() })?;
        measured.into_iter().next().flatten().ok_or(SearchError::NoMeasuring)
    }
}

pub(super) fn costs(model: &CostModel<'_>, candidates: &[Candidate]) -> Costs {
    let metrics = CostMetric::ALL.into_iter();
    metrics.filter_map(|metric| Some((metric, metric.of(model, candidates)?))).collect()
}
