//! [`CostMetric`]: what a budget may limit, and [`Costs`]: what a configuration costs in each.

use std::collections::BTreeMap;
use std::fmt;

use crate::cost::{CostModel, METRICS, Metric, Unit};
use crate::quant::Candidate;

/// A row of [`METRICS`]. Most only fall as bits fall, but nothing may rely on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CostMetric(usize);

impl CostMetric {
    /// Bit operations of one inference.
    pub const BOPS: CostMetric = CostMetric::named("bops");
    /// Bytes of the weights, packed, with their encodings.
    pub const WEIGHTS: CostMetric = CostMetric::named("weights");

    pub const ALL: [CostMetric; METRICS.len()] = {
        let mut all = [CostMetric(0); METRICS.len()];
        let mut index = 0;
        while index < all.len() {
            all[index] = CostMetric(index);
            index += 1;
        }
        all
    };

    /// How many are sums over groups.
    pub(super) const N_SUMS: usize = {
        let (mut n, mut index) = (0, 0);
        while index < METRICS.len() {
            n += METRICS[index].is_sum as usize;
            index += 1;
        }
        n
    };

    const fn named(name: &str) -> CostMetric {
        let mut index = 0;
        while !is_equal(METRICS[index].name.as_bytes(), name.as_bytes()) {
            index += 1;
        }
        CostMetric(index)
    }

    fn row(self) -> &'static Metric {
        &METRICS[self.0]
    }

    /// The name in `--budget` and in files.
    pub fn name(self) -> &'static str {
        self.row().name
    }

    pub fn find(name: &str) -> Option<CostMetric> {
        CostMetric::ALL.into_iter().find(|metric| metric.name() == name)
    }

    /// What candidates, one for each group, cost; `None` where it is not known.
    pub fn of(self, model: &CostModel<'_>, candidates: &[Candidate]) -> Option<f64> {
        (self.row().of)(model, candidates)
    }

    /// How values are stated.
    pub fn unit(self) -> Unit {
        self.row().unit
    }

    /// Whether it hangs on the sizes of activations, not on MACs and weights alone.
    pub fn needs_sizes(self) -> bool {
        self.row().needs_sizes
    }

    /// Whether it is a sum over groups of what each one's choice costs.
    pub fn is_sum(self) -> bool {
        self.row().is_sum
    }
}

/// `==` is not for constants.
const fn is_equal(a: &[u8], b: &[u8]) -> bool {
    let mut index = 0;
    while index < a.len() && index < b.len() && a[index] == b[index] {
        index += 1;
    }
    index == a.len() && index == b.len()
}

impl fmt::Display for CostMetric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What one configuration costs, in every metric that is known.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Costs(BTreeMap<CostMetric, f64>);

impl Costs {
    pub fn get(&self, metric: CostMetric) -> Option<f64> {
        self.0.get(&metric).copied()
    }

    /// In the order of [`CostMetric::ALL`].
    pub fn iter(&self) -> impl Iterator<Item = (CostMetric, f64)> {
        self.0.iter().map(|(&metric, &cost)| (metric, cost))
    }
}

impl<const N: usize> From<[(CostMetric, f64); N]> for Costs {
    fn from(costs: [(CostMetric, f64); N]) -> Costs {
        Costs(costs.into())
    }
}

impl FromIterator<(CostMetric, f64)> for Costs {
    fn from_iter<I: IntoIterator<Item = (CostMetric, f64)>>(costs: I) -> Costs {
        Costs(costs.into_iter().collect())
    }
}
