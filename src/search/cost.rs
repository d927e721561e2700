//! [`CostMetric`]: what a budget may limit, and [`Costs`]: what a configuration costs in each.

use std::collections::BTreeMap;
use std::fmt;

/// A cost that only falls as bits fall.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CostMetric {
    /// Bit operations of one inference.
    Bops,
    /// Bytes of the weights, packed, with their encodings.
    Weights,
}

const SI: &[(&str, f64)] = &[("k", 1e3), ("M", 1e6), ("G", 1e9), ("T", 1e12)];

const BYTES: &[(&str, f64)] = &[
    ("B", 1.),
    ("kB", 1e3),
    ("KB", 1e3),
    ("MB", 1e6),
    ("GB", 1e9),
    ("TB", 1e12),
    ("KiB", 1024.),
    ("MiB", 1_048_576.),
    ("GiB", 1_073_741_824.),
    ("TiB", 1_099_511_627_776.),
];

impl CostMetric {
    pub const ALL: &[CostMetric] = &[CostMetric::Bops, CostMetric::Weights];

    /// The name in `--budget` and in files.
    pub fn name(self) -> &'static str {
        match self {
            CostMetric::Bops => "bops",
            CostMetric::Weights => "weights",
        }
    }

    pub fn find(name: &str) -> Option<CostMetric> {
        CostMetric::ALL.iter().copied().find(|metric| metric.name() == name)
    }

    /// The units of absolute values, with their size.
    pub(super) fn units(self) -> &'static [(&'static str, f64)] {
        match self {
            CostMetric::Bops => SI,
            CostMetric::Weights => BYTES,
        }
    }
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
