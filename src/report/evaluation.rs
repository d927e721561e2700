//! The table of `mpq eval`.

use crate::artifact::Eval;
use crate::report::number::{UNKNOWN, decibels, plural};
use crate::report::{Align, Table};

/// A row for each value, float beside quantized.
pub fn evaluation(eval: &Eval) -> String {
    let mut columns = vec![("", Align::Left), ("float", Align::Right)];
    if eval.quantized.is_some() {
        columns.push(("quantized", Align::Right));
    }
    let mut table = Table::new(&columns);
    let values = eval.quantized.as_ref().unwrap_or(&eval.float);
    for (name, &value) in values.iter() {
        let mut cells = vec![label(name), percent(eval.float.get(name).copied().flatten())];
        if eval.quantized.is_some() {
            cells.push(if name == SQNR { decibels(value) } else { percent(value) });
        }
        table.row(cells);
    }
    format!("{}\n{table}", plural(eval.data.samples, "sample"))
}

/// The only value that is no fraction.
const SQNR: &str = "sqnr_db";

fn label(name: &str) -> String {
    if name == SQNR { "SQNR".to_owned() } else { name.to_owned() }
}

fn percent(value: Option<f64>) -> String {
    value.map_or_else(|| UNKNOWN.to_owned(), |value| format!("{:.2} %", 100. * value))
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;
    use crate::artifact::parse;

    #[test]
    fn float_beside_quantized() {
        let json = r#"{"schema":"mpq/eval/1","model":{"file":"m.onnx","sha256":"ab"},
            "data":{"samples":1},"float":{"top1":0.868},
            "quantized":{"top1":null,"sqnr_db":null}}"#;
        let mut eval: Eval = parse("-", json.as_bytes()).unwrap();
        expect![[r#"
            1 sample
                    float  quantized
            top1  86.80 %          -
            SQNR        -   no noise"#]]
        .assert_eq(&evaluation(&eval));
        eval.quantized = None;
        expect![[r#"
            1 sample
                    float
            top1  86.80 %"#]]
        .assert_eq(&evaluation(&eval));
    }
}
