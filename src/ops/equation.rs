//! [`Equation`]: the text of an `Einsum`, and [`Plan`]: what it means for operands of known shapes.

use std::collections::BTreeMap;

use crate::ops::OpError;
use crate::ops::inputs::Named;

/// `term,term->output`; what is not written of it is filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Equation {
    terms: Vec<Vec<Symbol>>,
    output: Vec<Symbol>,
}

/// What a term is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Symbol {
    Letter(char),
    Ellipsis,
}

/// The name of one dimension.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Label {
    /// One of those that an ellipsis stands for.
    Ellipsis(usize),
    Letter(char),
}

impl Equation {
    pub(super) fn parse(text: &str) -> Result<Equation, OpError> {
        let wrong = |expected: &str| invalid(text, expected);
        let compact: String = text.chars().filter(|&c| c != ' ').collect();
        let (left, right) = match compact.split_once("->") {
            Some((left, right)) => (left, Some(right)),
            None => (compact.as_str(), None),
        };
        let terms: Option<Vec<Vec<Symbol>>> = left.split(',').map(parse_term).collect();
        let terms = terms.ok_or_else(|| {
            wrong("terms of letters with at most one `...`, separated by commas, before a `->`")
        })?;
        let Some(right) = right else {
            return Ok(Equation { output: implicit_output(&terms), terms });
        };
        let output = parse_term(right);
        let output = output.ok_or_else(|| wrong("letters and at most one `...` after the `->`"))?;
        for (i, symbol) in output.iter().enumerate() {
            if output[..i].contains(symbol) {
                return Err(wrong("no letter twice after the `->`"));
            }
            if *symbol != Symbol::Ellipsis && !terms.concat().contains(symbol) {
                return Err(wrong("no letter after the `->` that is not before it"));
            }
        }
        Ok(Equation { terms, output })
    }

    /// The labels of operands of these shapes.
    pub(super) fn plan(&self, text: &str, operands: &[Named<'_>]) -> Result<Plan, OpError> {
        if operands.len() != self.terms.len() {
            let expected = format!("{}, one per term of `{text}`", self.terms.len());
            return Err(OpError::Arity { what: "inputs", found: operands.len(), expected });
        }
        let mut n_ellipsis = None;
        for (term, operand) in self.terms.iter().zip(operands) {
            let n_letters = term.iter().filter(|&&symbol| symbol != Symbol::Ellipsis).count();
            let n = operand.rank().checked_sub(n_letters);
            let fits = match (term.contains(&Symbol::Ellipsis), n) {
                (true, Some(n)) => *n_ellipsis.get_or_insert(n) == n,
                (_, n) => n == Some(0),
            };
            if !fits {
                let ellipsis = n_ellipsis.map(|n| format!(", `...` of rank {n}"));
                let ellipsis = ellipsis.unwrap_or_default();
                return Err(operand.wrong_shape(format!("a term of `{text}`{ellipsis}")));
            }
        }
        let n_ellipsis = n_ellipsis.unwrap_or(0);
        if 0 < n_ellipsis && !self.output.contains(&Symbol::Ellipsis) {
            return Err(invalid(text, "`...` after the `->`, as before it"));
        }
        let terms = self.terms.iter().map(|term| labels(term, n_ellipsis)).collect();
        Plan::new(terms, labels(&self.output, n_ellipsis), operands)
    }
}

fn invalid(text: &str, expected: &str) -> OpError {
    OpError::invalid_attribute("equation", format!("`{text}`"), expected)
}

fn parse_term(text: &str) -> Option<Vec<Symbol>> {
    let mut symbols = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        if let Some(after) = rest.strip_prefix("...") {
            if symbols.contains(&Symbol::Ellipsis) {
                return None;
            }
            symbols.push(Symbol::Ellipsis);
            rest = after;
        } else if first.is_ascii_alphabetic() {
            symbols.push(Symbol::Letter(first));
            rest = &rest[1..];
        } else {
            return None;
        }
    }
    Some(symbols)
}

/// The ellipsis, then the letters that appear once, in the order of ASCII.
fn implicit_output(terms: &[Vec<Symbol>]) -> Vec<Symbol> {
    let mut counts = BTreeMap::new();
    for symbol in terms.iter().flatten() {
        if let Symbol::Letter(letter) = symbol {
            *counts.entry(*letter).or_insert(0) += 1;
        }
    }
    let has_ellipsis = terms.iter().flatten().any(|&symbol| symbol == Symbol::Ellipsis);
    let once = counts.into_iter().filter(|&(_, count)| count == 1);
    let once = once.map(|(letter, _)| Symbol::Letter(letter));
    has_ellipsis.then_some(Symbol::Ellipsis).into_iter().chain(once).collect()
}

fn labels(term: &[Symbol], n_ellipsis: usize) -> Vec<Label> {
    let expand = |symbol: &Symbol| match *symbol {
        Symbol::Letter(letter) => vec![Label::Letter(letter)],
        Symbol::Ellipsis => (0..n_ellipsis).map(Label::Ellipsis).collect(),
    };
    term.iter().flat_map(expand).collect()
}

/// An equation over operands whose shapes are known.
#[derive(Debug)]
pub(super) struct Plan {
    /// A label for every axis of every operand.
    pub(super) terms: Vec<Vec<Label>>,
    pub(super) output: Vec<Label>,
    sizes: BTreeMap<Label, usize>,
}

impl Plan {
    fn new(
        terms: Vec<Vec<Label>>,
        output: Vec<Label>,
        operands: &[Named<'_>],
    ) -> Result<Plan, OpError> {
        let mut sizes = BTreeMap::new();
        for (term, operand) in terms.iter().zip(operands) {
            for (&label, &dim) in term.iter().zip(operand.shape()) {
                let size = sizes.entry(label).or_insert(dim);
                match (*size, dim) {
                    (size, dim) if size == dim || dim == 1 => {}
                    (1, dim) => *size = dim,
                    (size, _) => {
                        let name = label.name();
                        return Err(operand.wrong_shape(format!("{size} or 1 where {name} is")));
                    }
                }
            }
        }
        Ok(Plan { terms, output, sizes })
    }

    pub(super) fn output_shape(&self) -> Vec<usize> {
        self.output.iter().map(|label| self.sizes[label]).collect()
    }

    /// The number of products that are summed, of all output elements together.
    pub(super) fn products(&self) -> u64 {
        self.sizes.values().fold(1, |product: u64, &size| product.saturating_mul(size as u64))
    }
}

impl Label {
    fn name(self) -> String {
        match self {
            Label::Letter(letter) => format!("`{letter}`"),
            Label::Ellipsis(_) => "`...`".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output(text: &str) -> String {
        let symbols = Equation::parse(text).unwrap().output;
        symbols
            .iter()
            .map(|symbol| match symbol {
                Symbol::Letter(letter) => letter.to_string(),
                Symbol::Ellipsis => "...".to_owned(),
            })
            .collect()
    }

    #[test]
    fn outputs() {
        assert_eq!(output("ij,jk"), "ik");
        assert_eq!(output("ij , jk -> k i"), "ki");
        assert_eq!(output("ba"), "ab");
        assert_eq!(output("bB"), "Bb");
        assert_eq!(output("ii"), "");
        assert_eq!(output("b...i,...ij"), "...bj");
        assert_eq!(output("->"), "");
        assert_eq!(output(""), "");
    }

    #[test]
    fn refuses() {
        let before = "terms of letters with at most one `...`, separated by commas, before a `->`";
        for (text, expected) in [
            ("i1->i", before),
            ("i..->i", before),
            ("......->", before),
            ("é", before),
            ("i->i->i", "letters and at most one `...` after the `->`"),
            ("ij->ii", "no letter twice after the `->`"),
            ("i->j", "no letter after the `->` that is not before it"),
        ] {
            let message = format!("attribute `equation` is `{text}`, expected {expected}");
            assert_eq!(Equation::parse(text).unwrap_err().to_string(), message);
        }
    }
}
