//! [`Preparation`]: what is done to a network before it is quantized.

use crate::artifact;
use crate::graph::{Dim, Graph, GraphInput, drop_dead_nodes, infer, simplify};
use crate::pipeline::PipelineError;
use crate::pipeline::network::{outputs_and, select_outputs};
use crate::quant::{equalize, with_own_biases};
use crate::tensor::TensorType;

/// What stands for a free dimension that is not the first: types of values hardly depend on it.
const FREE_SIZE: usize = 64;

/// What is done besides [`simplify`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Preparation {
    /// Channels are equalized across layers.
    pub equalize: bool,
    /// Biases are corrected for the error of rounded weights: layers without one get one of zeros.
    pub correct_biases: bool,
}

impl Preparation {
    pub const NONE: Preparation = Preparation { equalize: false, correct_biases: false };

    /// Of an earlier result.
    pub fn of(settings: &artifact::Settings) -> Preparation {
        Preparation { equalize: settings.equalize, correct_biases: settings.bias_correction }
    }

    /// The graph made ready, putting out some tensors; `None` for its own outputs.
    ///
    /// What is equalized depends neither on the outputs that are dropped nor on the sizes of free
    /// dimensions, so that a search and what is done with its result come to the same network.
    pub(super) fn apply(
        self,
        graph: Graph,
        outputs: Option<&[String]>,
    ) -> Result<Graph, PipelineError> {
        if self == Preparation::NONE {
            return Ok(simplify(select_outputs(graph, outputs)?));
        }
        let all = outputs_and(&graph, outputs.unwrap_or_default());
        let mut graph = simplify(select_outputs(graph, all.as_deref())?);
        if self.equalize {
            let types = infer(&graph, &nominal_types(&graph));
            graph = equalize(graph, &types).map_err(PipelineError::Equalize)?;
        }
        if self.correct_biases {
            let types = infer(&graph, &nominal_types(&graph));
            graph = with_own_biases(graph, &types);
        }
        let mut graph = select_outputs(graph, outputs)?;
        drop_dead_nodes(&mut graph);
        Ok(graph)
    }
}

/// The types of a sample; sizes that only a real one has are made up.
pub(super) fn nominal_types(graph: &Graph) -> Vec<TensorType> {
    let of_input = |input: &GraphInput| {
        let size = |(axis, dim): (usize, &Dim)| {
            dim.fixed().unwrap_or(if axis == 0 { 1 } else { FREE_SIZE })
        };
        let shape = input.dims.iter().enumerate().map(size).collect();
        TensorType { dtype: input.dtype, shape }
    };
    graph.inputs().iter().map(of_input).collect()
}
