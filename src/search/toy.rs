//! [`Toy`]: a `Problem` on paper, for tests.

use crate::search::{Choice, Configuration, CostMetric, Costs, Problem, Quality, SearchError};

#[derive(Debug, Clone)]
pub(super) struct Toy {
    choices: Vec<Vec<Choice>>,
    macs: Vec<u32>,
    weight_bytes_at_8_bits: Vec<u32>,
    /// A metric that is left out of the costs.
    pub(super) unknown: Option<CostMetric>,
    /// What measuring a configuration gives, in dB; `None` where that is not possible.
    pub(super) measure: Option<fn(&[usize]) -> f64>,
}

#[derive(Debug, Clone)]
pub(super) struct Group {
    macs: u32,
    weight_elements: u32,
    choices: Vec<Choice>,
}

/// A group by its MACs, weight elements, and choices with their SQNR in dB; infinity is no noise.
pub(super) fn group(macs: u32, weight_elements: u32, choices: &[(&str, f64)]) -> Group {
    let choice = |&(candidate, sqnr_db): &(&str, f64)| Choice {
        candidate: candidate.parse().unwrap(),
        sqnr_db: (sqnr_db != f64::INFINITY).then_some(sqnr_db),
        score: None,
    };
    Group { macs, weight_elements, choices: choices.iter().map(choice).collect() }
}

/// All but the last have a choice below all others.
const CANDIDATES: &[&[&str]] = &[
    &["W4A8", "W8A8", "W8A16"],
    &["W8A16", "W8A8", "W4A16", "W4A8"],
    &["A16", "A8"],
    &["A8", "A4", "A32"],
    &["W8A8"],
    &["W8A16", "W2A16", "W8A8"],
];

impl Toy {
    /// Ranks the choices of a group.
    pub(super) fn score(&mut self, group: usize, scores: &[f64]) {
        let choices = self.choices[group].iter_mut().zip(scores);
        choices.for_each(|(choice, &score)| choice.score = Some(score));
    }

    pub(super) fn new(groups: Vec<Group>) -> Toy {
        Toy {
            macs: groups.iter().map(|group| group.macs).collect(),
            weight_bytes_at_8_bits: groups.iter().map(|group| group.weight_elements).collect(),
            choices: groups.into_iter().map(|group| group.choices).collect(),
            unknown: None,
            measure: None,
        }
    }

    /// Groups of all kinds, with few distinct SQNRs and sizes, so that ties are common.
    pub(super) fn random(seed: u64, groups: usize) -> Toy {
        let mut below = random_below(seed);
        Toy::new((0..groups).map(|_| random_group(CANDIDATES, &mut below)).collect())
    }

    /// The same, where every group has a choice below all its others: the cheapest configuration
    /// is at the end of every walk.
    pub(super) fn random_with_bottom(seed: u64, groups: usize) -> Toy {
        let mut below = random_below(seed);
        let candidates = &CANDIDATES[..CANDIDATES.len() - 1];
        Toy::new((0..groups).map(|_| random_group(candidates, &mut below)).collect())
    }

    pub(super) fn bops(&self, configuration: &[usize]) -> f64 {
        let groups = self.choices.iter().zip(configuration).zip(&self.macs);
        groups.map(|((choices, &i), &macs)| f64::from(macs * choices[i].candidate.product())).sum()
    }

    pub(super) fn weights(&self, configuration: &[usize]) -> f64 {
        let groups = self.choices.iter().zip(configuration).zip(&self.weight_bytes_at_8_bits);
        let bytes = |((choices, &i), &bytes): ((&Vec<Choice>, &usize), &u32)| {
            f64::from(bytes * choices[i].candidate.weight.map_or(0, u32::from)) / 8.
        };
        groups.map(bytes).sum()
    }

    /// Every configuration there is.
    pub(super) fn configurations(&self) -> Vec<Configuration> {
        let mut all = vec![vec![]];
        for choices in &self.choices {
            let longer = |prefix: &Vec<usize>| {
                (0..choices.len()).map(|choice| [&prefix[..], &[choice]].concat()).collect()
            };
            all = all.iter().flat_map::<Vec<_>, _>(longer).collect();
        }
        all.into_iter().map(Configuration).collect()
    }
}

impl Problem for Toy {
    fn choices(&self) -> &[Vec<Choice>] {
        &self.choices
    }

    fn costs(&self, configuration: &Configuration) -> Costs {
        let bops = (CostMetric::BOPS, self.bops(&configuration.0));
        let weights = (CostMetric::WEIGHTS, self.weights(&configuration.0));
        [bops, weights].into_iter().filter(|&(metric, _)| Some(metric) != self.unknown).collect()
    }

    fn measure(&mut self, configuration: &Configuration) -> Result<Quality, SearchError> {
        let measure = self.measure.ok_or(SearchError::NoMeasuring)?;
        Ok(Quality { sqnr_db: Some(measure(&configuration.0)), metrics: Vec::new() })
    }
}

fn random_group(candidates: &[&[&str]], below: &mut impl FnMut(u32) -> u32) -> Group {
    let candidates = candidates[below(candidates.len() as u32) as usize];
    let has_weights = candidates[0].starts_with('W');
    let sqnr_db = [f64::INFINITY, 40., 35., 30., 20., -3.];
    let choices: Vec<_> = candidates.iter().map(|&c| (c, sqnr_db[below(6) as usize])).collect();
    let size = |size| if has_weights { size } else { 0 };
    group(size(below(4)), size(8 * below(4)), &choices)
}

/// Numbers below a bound, from a linear congruential generator.
fn random_below(seed: u64) -> impl FnMut(u32) -> u32 {
    let mut state = seed;
    move |bound| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as u32 % bound
    }
}
