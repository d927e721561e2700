//! [`Problem`]: all that a strategy knows of a network.

use crate::quant::Candidate;
use crate::search::{Costs, SearchError};

/// Groups with choices; what configurations cost; how good they are.
///
/// Costs must not rise where the weight or activation bits of a group fall.
pub trait Problem {
    /// The choices of every group, in model order; only those that it may take, at least one.
    fn choices(&self) -> &[Vec<Choice>];

    /// What a configuration costs, in every metric that is known: always the same ones.
    fn costs(&self, configuration: &Configuration) -> Costs;

    /// What relative budgets are fractions of: the cost of the uniform most precise candidate.
    ///
    /// Another than the default where a group may not take that candidate.
    fn full_costs(&self) -> Costs {
        self.costs(&Configuration::most_precise(self.choices()))
    }

    /// What the SQNRs of the single choices foretell for a configuration; `None` is no noise at all.
    ///
    /// By default their noise-to-signal ratios are added:
    /// `sqnr_db = -10 log10(sum over groups of 10^(-sqnr_db / 10))`.
    fn predicted_sqnr_db(&self, configuration: &Configuration) -> Option<f64> {
        let chosen = self.choices().iter().zip(&configuration.0);
        let sqnrs = chosen.filter_map(|(choices, &choice)| choices[choice].sqnr_db);
        let ratio: f64 = sqnrs.map(|sqnr_db| 10_f64.powf(-sqnr_db / 10.)).sum();
        (ratio != 0.).then(|| -10. * ratio.log10())
    }

    /// The configurations with one candidate everywhere, or as near to it as groups may come: what
    /// a strategy has to beat.
    fn uniform(&self) -> Vec<(Candidate, Configuration)> {
        Vec::new()
    }

    /// Runs a configuration.
    fn measure(&mut self, _configuration: &Configuration) -> Result<Quality, SearchError> {
        Err(SearchError::NoMeasuring)
    }
}

/// What a group may take, and how much that alone hurts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Choice {
    pub candidate: Candidate,
    /// With everything else in float; `None` is no noise at all.
    pub sqnr_db: Option<f64>,
    /// What the list is ranked by in place of the SQNR, more being better; `None` if it is not.
    pub score: Option<f64>,
}

/// For every group, in model order, the index of its choice.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Configuration(pub Vec<usize>);

impl Configuration {
    /// Every group at the most precise choice it may take: largest W x A, then largest W.
    pub fn most_precise(choices: &[Vec<Choice>]) -> Configuration {
        Configuration(choices.iter().map(|choices| most_precise(choices)).collect())
    }

    /// The same but for one group.
    pub fn with(&self, group: usize, choice: usize) -> Configuration {
        let mut configuration = self.clone();
        configuration.0[group] = choice;
        configuration
    }
}

fn most_precise(choices: &[Choice]) -> usize {
    let precisions = choices.iter().map(|choice| choice.candidate.precision());
    precisions.enumerate().max_by_key(|&(_, precision)| precision).map_or(0, |(index, _)| index)
}

/// How good a measured configuration is.
#[derive(Debug, Clone, PartialEq)]
pub struct Quality {
    /// `None` is no noise at all.
    pub sqnr_db: Option<f64>,
    /// By name, such as `top1`, in a fixed order.
    pub metrics: Vec<(String, f64)>,
}

#[cfg(test)]
mod tests {
    use crate::search::toy::{Toy, group};
    use crate::search::{Configuration, Problem as _, SearchError};

    #[test]
    fn most_precise_is_the_largest_product_then_the_largest_weight() {
        let candidates = |names: &[&str]| {
            let choices: Vec<_> = names.iter().map(|&name| (name, 0.)).collect();
            group(1, 1, &choices)
        };
        let toy = Toy::new(vec![
            candidates(&["W4A8", "W8A8", "W8A16"]),
            candidates(&["W4A16", "W8A8", "W4A8"]),
            candidates(&["A8", "A16"]),
            candidates(&["W2A2"]),
        ]);
        assert_eq!(Configuration::most_precise(toy.choices()), Configuration(vec![2, 1, 1, 0]));
    }

    #[test]
    fn predicted_noise_adds() {
        let toy = Toy::new(vec![
            group(1, 1, &[("W8A8", 30.), ("W4A8", f64::INFINITY)]),
            group(1, 1, &[("W8A8", 30.), ("W4A8", f64::INFINITY)]),
        ]);
        let predicted = |choices: [usize; 2]| toy.predicted_sqnr_db(&Configuration(choices.into()));
        let both = predicted([0, 0]).unwrap();
        assert!((both - 26.989_700_043).abs() < 1e-6, "{both}");
        assert!((predicted([0, 1]).unwrap() - 30.).abs() < 1e-9);
        assert_eq!(predicted([1, 1]), None);
    }

    #[test]
    fn measuring_is_optional() {
        let mut toy = Toy::new(vec![]);
        let refused = toy.measure(&Configuration(vec![]));
        assert!(matches!(refused, Err(SearchError::NoMeasuring)));
    }
}
