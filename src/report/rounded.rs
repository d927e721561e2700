//! The summary of a set of rounded weights.

use crate::quant::{Loss, Rounded};
use crate::report::{Align, Table};

/// Every weight at every width: the error that rounding makes in its layer's output.
pub fn rounded(set: &Rounded) -> String {
    let mut table = Table::new(&[
        ("weight", Align::Left),
        ("bits", Align::Right),
        ("nearest", Align::Right),
        (set.method.name(), Align::Right),
        ("gain", Align::Right),
    ]);
    for (name, by_bits) in &set.weights {
        for (bits, weight) in by_bits {
            let cells = match weight.loss {
                Some(Loss { nearest, rounded }) => {
                    [number(nearest), number(rounded), gain(nearest, rounded)]
                }
                None => ["-", "stays", "-"].map(str::to_owned),
            };
            let [nearest, rounded, gain] = cells;
            table.row([name.clone(), bits.to_string(), nearest, rounded, gain]);
        }
    }
    table.to_string()
}

fn number(loss: f64) -> String {
    if loss == 0. { "0".to_owned() } else { format!("{loss:.2e}") }
}

/// In dB.
fn gain(nearest: f64, rounded: f64) -> String {
    if nearest == rounded {
        return "0.0 dB".to_owned();
    }
    format!("{:.1} dB", 10. * (nearest / rounded).log10())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use expect_test::expect;

    use super::*;
    use crate::quant::{Bits, Encoding, Range, RoundedWeight, Scheme};

    #[test]
    fn losses() {
        let bits = |bits| Bits::new(bits).unwrap();
        let weight = |width, loss: Option<[f64; 2]>| RoundedWeight {
            integers: Arc::new(Vec::new()),
            encoding: Encoding::new(bits(width), Scheme::SYMMETRIC, None, &[Range::new(-1., 1.)]),
            loss: loss.map(|[nearest, rounded]| Loss { nearest, rounded }),
        };
        let conv = [(4, Some([0.0312, 0.0078])), (8, Some([0., 0.]))];
        let conv = conv.map(|(width, loss)| (bits(width), weight(width, loss)));
        let table = [(bits(4), weight(4, None))];
        let set = Rounded {
            method: "adaround".parse().unwrap(),
            weights: BTreeMap::from([
                ("conv.weight".to_owned(), BTreeMap::from(conv)),
                ("embedding".to_owned(), BTreeMap::from(table)),
            ]),
        };
        expect![[r#"
            weight       bits  nearest  adaround    gain
            conv.weight     4  3.12e-2   7.80e-3  6.0 dB
            conv.weight     8        0         0  0.0 dB
            embedding       4        -     stays       -"#]]
        .assert_eq(&rounded(&set));
    }
}
