//! The table of `mpq eval`.

use crate::artifact::Eval;
use crate::metric::{self, Unit};
use crate::report::number::{UNKNOWN, decibels, plain, plural};
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
        let mut cells = vec![label(name), float(eval, name)];
        if eval.quantized.is_some() {
            cells.push(cell(name, value));
        }
        table.row(cells);
    }
    format!("{}\n{table}", plural(eval.data.samples, "sample"))
}

/// The only value that is no metric's; the float network has none.
const SQNR: &str = "sqnr_db";

fn label(name: &str) -> String {
    if name == SQNR { "SQNR".to_owned() } else { name.to_owned() }
}

fn float(eval: &Eval, name: &str) -> String {
    let value = eval.float.get(name);
    value.map_or_else(|| UNKNOWN.to_owned(), |&value| cell(name, value))
}

/// In the unit of the metric.
pub(super) fn cell(name: &str, value: Option<f64>) -> String {
    let unit = match name {
        SQNR => Some(Unit::Decibels),
        _ => metric::find(name).ok().map(|(def, _)| def.unit),
    };
    match (unit, value) {
        (Some(Unit::Decibels), value) => decibels(value),
        (_, None) => UNKNOWN.to_owned(),
        (Some(Unit::Fraction), Some(value)) => format!("{:.2} %", 100. * value),
        (Some(Unit::Coefficient), Some(value)) => format!("{value:.4}"),
        (Some(Unit::Number) | None, Some(value)) => plain(value),
    }
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

    #[test]
    fn units() {
        let json = r#"{"schema":"mpq/eval/1","model":{"file":"m.onnx","sha256":"ab"},
            "data":{"samples":2},
            "float":{"f1=macro":0.5,"matthews":-0.25,"psnr":null,"command":12.5,"pearson":null},
            "quantized":null}"#;
        let eval: Eval = parse("-", json.as_bytes()).unwrap();
        expect![[r#"
            2 samples
                         float
            f1=macro   50.00 %
            matthews   -0.2500
            psnr      no noise
            command       12.5
            pearson          -"#]]
        .assert_eq(&evaluation(&eval));
    }
}
