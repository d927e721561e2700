//! The fast engine against the reference on networks that are drawn anew on every run.

use proptest::prelude::{ProptestConfig, proptest};

use super::tests::{changes, outputs};
use super::*;
use crate::graph::testing::inputs;
use crate::graph::testing::random::{genes, grow};
use crate::tensor::DType;

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Sums in another order are off by roundings of what was summed up, which may have cancelled:
    /// so within 1e-5 of the largest value of the network.
    #[test]
    fn agrees_with_the_reference(genes in genes(12)) {
        let graph = grow(&genes);
        let inputs = inputs(&graph);
        let reference = Reference::new(&graph, usize::MAX);
        let expected = reference.run(&inputs, &Changes::default(), Keep::All).unwrap();
        let found = Fast::new(&graph, usize::MAX, &[]);
        let found = found.run(&inputs, &Changes::default(), Keep::Outputs).unwrap();
        let floats = graph.value_ids().filter_map(|id| expected.get(id));
        let floats = floats.filter(|tensor| tensor.dtype() == DType::F32);
        let largest = floats.flat_map(|tensor| tensor.slice::<f32>()).fold(0., |a: f32, b| a.max(b.abs()));
        for &id in graph.outputs() {
            let (found, expected) = (found.get(id).unwrap(), expected.get(id).unwrap());
            assert_eq!(found.shape(), expected.shape());
            for (found, expected) in found.slice::<f32>().iter().zip(expected.slice::<f32>()) {
                let is_close = (found - expected).abs() <= 1e-5 * largest;
                assert!(is_close, "{}: {found}, expected {expected}", graph.value_name(id));
            }
        }
    }

    /// From a float pass on, and together with others: the same bits as a pass of its own.
    #[test]
    fn reruns_are_whole_runs(genes in genes(10), step in 1_usize..6, start in 0_usize..6) {
        let graph = grow(&genes);
        let inputs = inputs(&graph);
        let observed: Vec<ValueId> = graph.value_ids().filter(|id| id.index() % 2 == 0).collect();
        let fast = Fast::new(&graph, usize::MAX, &observed);
        let changed = changes(&graph, |index| index % step == start % step);
        let base = fast.run(&inputs, &Changes::default(), Keep::All).unwrap();
        let whole = fast.run(&inputs, &changed, Keep::Outputs).unwrap();
        let partial = fast.rerun(&base, &Changes::default(), &changed, Keep::Outputs).unwrap();
        assert!(outputs(&graph, &partial) == outputs(&graph, &whole));
        let expected = Difference::all(&base, &whole, graph.outputs(), 1);
        for found in fast.differences(&[&base, &base], &changed, graph.outputs(), 1) {
            assert!(found.unwrap() == expected);
        }
    }

    #[test]
    fn every_level_gives_the_same_bits(genes in genes(10)) {
        let graph = grow(&genes);
        let fast = Fast::new(&graph, usize::MAX, &[]);
        let inputs = inputs(&graph);
        let found = crate::kernels::at_each_level(|| {
            outputs(&graph, &fast.run(&inputs, &Changes::default(), Keep::Outputs).unwrap())
        });
        for (level, tensors) in &found {
            assert!(*tensors == found[0].1, "{level:?}");
        }
    }
}
