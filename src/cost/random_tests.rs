//! What holds of the costs of any network.

use proptest::collection::vec;
use proptest::prelude::{ProptestConfig, any, proptest};

use crate::cost::{CostModel, METRICS, unrestricted};
use crate::graph::testing::random::{genes, grow};
use crate::graph::testing::types;
use crate::quant::{Candidate, Groups, Placement, Target};

const LISTED: &str = "W16A16,W8A16,W8A8,W4A8,W3A5";

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Where a group gets fewer bits no cost rises but conversions; one that is a sum over groups
    /// falls by as much whatever the others have.
    #[test]
    fn fewer_bits(genes in genes(14), chosen in vec(any::<u8>(), 64), group in any::<u8>()) {
        let graph = grow(&genes);
        let (types, target) = (types(&graph), Target::built_in("generic").unwrap());
        let placement = Placement::new(&graph, &types, &target);
        let listed = LISTED.parse().unwrap();
        let Ok(groups) = Groups::new(&graph, &types, &placement, &target, &listed, &[]) else {
            return Ok(());
        };
        let model = CostModel::new(&graph, &types, &placement, &groups, true);
        let some: Vec<Candidate> = groups.groups.iter().zip(chosen.iter().cycle())
            .map(|(group, &choice)| group.choices[usize::from(choice) % group.choices.len()])
            .collect();
        let top = unrestricted(&groups, "W16A16".parse().unwrap());
        let group = usize::from(group) % groups.groups.len();
        let above = some[group];
        for &below in groups.groups[group].choices.iter().filter(|c| c.is_below(&above)) {
            for metric in METRICS {
                let cost = |base: &[Candidate], candidate| {
                    let mut candidates = base.to_vec();
                    candidates[group] = candidate;
                    (metric.of)(&model, &candidates)
                };
                let (Some(before), Some(after)) = (cost(&some, above), cost(&some, below)) else {
                    continue;
                };
                assert!(0. <= after);
                let may_rise = metric.name == "conversions";
                assert!(may_rise || after <= before, "{}: {before} to {after}", metric.name);
                if metric.is_sum {
                    let elsewhere = cost(&top, above).zip(cost(&top, below));
                    let (top_before, top_after) = elsewhere.expect("it is known for all");
                    let (here, there) = (before - after, top_before - top_after);
                    // Averages are quotients, so their differences are rounded.
                    let is_same = (here - there).abs() <= 1e-12 * before.max(top_before);
                    assert!(is_same, "{}: falls by {here}, elsewhere by {there}", metric.name);
                }
            }
        }
    }
}
