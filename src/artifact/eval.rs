//! The output of `mpq eval --json`: how good a model is, in float and quantized.

use serde::{Deserialize, Serialize};

use crate::artifact::{Artifact, Model, Ordered};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Eval {
    /// [`Eval::schema`].
    pub schema: String,
    pub model: Model,
    pub data: EvalData,
    /// By name, such as `top1`, or by the whole text where several have one name, such as `f1=macro`;
    /// in the unit of the metric, `None` where it has no value.
    pub float: Ordered<Option<f64>>,
    /// The same and `sqnr_db`, where `None` is no noise at all; `None` without a configuration.
    pub quantized: Option<Ordered<Option<f64>>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvalData {
    pub samples: u64,
}

impl Artifact for Eval {
    const NAME: &'static str = "eval";
    const VERSION: u32 = 1;

    fn model(&self) -> &Model {
        &self.model
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::artifact::{example, parse};

    const JSON: &str = concat!(
        r#"{"schema":"mpq/eval/1","model":{"file":"model.onnx","sha256":"ab12"},"#,
        r#""data":{"samples":500},"float":{"top1":0.868},"#,
        r#""quantized":{"top1":0.85,"sqnr_db":9.4}}"#,
    );

    #[test]
    fn round_trips() {
        assert_eq!(serde_json::to_string(&example::eval()).unwrap(), JSON);
        let json = example::eval().to_json();
        assert_eq!(parse::<Eval>("-", json.as_bytes()).unwrap(), example::eval());
        let float_only = Eval { quantized: None, ..example::eval() };
        assert!(float_only.to_json().contains(r#""quantized":null"#));
    }
}
