//! [`QuantRole`]: what the quantization simulator has to know of a node.

/// How a node takes part in quantization.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuantRole {
    /// The inputs that are weights if they are constants.
    pub weights: Vec<Weight>,
    /// The inputs read as activations: quantized if they are float and not constant.
    pub reads: Reads,
    /// The input that is added to the products of a weight.
    pub bias: Option<usize>,
    /// Whether the activations read are multiplied with each other, so that they share one choice.
    pub product: bool,
    /// Where the range of the first output comes from.
    pub output: OutputRange,
}

/// Where a node looks for a weight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Weight {
    /// The input's position.
    pub input: usize,
    /// The axis that per-channel scales run along.
    pub channel_axis: usize,
}

/// Which inputs are activations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reads {
    /// Every one that is no weight.
    All,
    /// Those at these positions; the others (normalization parameters, a bias, axes) stay float.
    Only(Vec<usize>),
}

/// Where the range of an output comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutputRange {
    /// It has one of its own.
    Own,
    /// Its values are a subset of this input's, so the encoding passes on.
    SameAsInput(usize),
    /// It is no activation (shapes, indices, masks).
    NotQuantized,
}

impl QuantRole {
    /// Reads activations, puts out values with a range of their own; no weights.
    pub const OWN_RANGE: QuantRole = QuantRole {
        weights: Vec::new(),
        reads: Reads::All,
        bias: None,
        product: false,
        output: OutputRange::Own,
    };

    /// Touches no activation: shapes, comparisons, casts to integers.
    pub const NOT_QUANTIZED: QuantRole = QuantRole {
        weights: Vec::new(),
        reads: Reads::Only(Vec::new()),
        bias: None,
        product: false,
        output: OutputRange::NotQuantized,
    };

    /// Moves values of input `input` without changing them: `Reshape`, `MaxPool`.
    pub fn passes(input: usize) -> QuantRole {
        QuantRole {
            reads: Reads::Only(vec![input]),
            output: OutputRange::SameAsInput(input),
            ..QuantRole::OWN_RANGE
        }
    }

    /// Reads only input `input` as an activation; the other inputs are parameters.
    pub fn reads_only(input: usize) -> QuantRole {
        QuantRole { reads: Reads::Only(vec![input]), ..QuantRole::OWN_RANGE }
    }

    /// Multiplies the activation `activation` by a weight.
    pub fn weighted(activation: usize, weight: Weight) -> QuantRole {
        QuantRole {
            weights: vec![weight],
            reads: Reads::Only(vec![activation]),
            ..QuantRole::OWN_RANGE
        }
    }

    /// The same with a bias.
    pub fn with_bias(self, input: usize) -> QuantRole {
        QuantRole { bias: Some(input), ..self }
    }

    /// Whether input `input` is read as an activation.
    pub fn reads(&self, input: usize) -> bool {
        match &self.reads {
            Reads::All => self.weights.iter().all(|weight| weight.input != input),
            Reads::Only(inputs) => inputs.contains(&input),
        }
    }
}
