//! `latency`: the sum over units of what a table says that each takes, in milliseconds.
//!
//! The table is CSV with a header. Columns, in any order:
//!
//! | column | holds |
//! | --- | --- |
//! | `node` | name of a node: the row is for the unit that this node is part of |
//! | `operator` | what the unit is, such as `Conv` |
//! | `shape` | that of the unit's weight, else of its output: `8x1x3x3`, `*` for any size |
//! | `candidate` | `W4A8`, or `A8` for a unit without weights; 32 bits are float |
//! | `latency_ms` | milliseconds of one run |
//!
//! `latency_ms` is required. An empty field, `*` or a column that is not there matches everything,
//! so a row with nothing but its latency is the default. Of the rows that match the most particular
//! counts: one with a node before one without, then with an operator, then the shape with most
//! sizes, then with a candidate; of equals the first.
//!
//! A unit is what is computed as one, a convolution with its activation, and takes the choice of
//! what it reads. Tables are measured, so a latency may rise where bits fall: the walk of `pareto`
//! looks at every point, and `knapsack` and `refine` never rely on it.

use std::fmt;

use sha2::{Digest as _, Sha256};

use crate::cost::{Metric, Unit};
use crate::data::csv;
use crate::graph::patterns::Unit as Computed;
use crate::graph::{Graph, Types, ValueId};
use crate::quant::{Bits, Candidate, Groups, Placement};

pub(super) const METRIC: Metric = Metric {
    name: "latency",
    doc: "the sum of what --cost-table says that operators take",
    unit: Unit::Scaled(&[("ns", 1e-6), ("us", 1e-3), ("ms", 1.), ("s", 1e3)]),
    is_sum: true,
    needs_sizes: true,
    of: |model, candidates| model.latency.as_ref()?.milliseconds(candidates),
};

/// What operators take, as measured by the user.
#[derive(Debug, Clone, PartialEq)]
pub struct CostTable {
    /// Over its text.
    pub sha256: String,
    rows: Vec<Row>,
}

#[derive(Debug, Clone, PartialEq)]
struct Row {
    node: Option<String>,
    operator: Option<String>,
    /// By axis; `None` is any size.
    shape: Option<Vec<Option<usize>>>,
    candidate: Option<Candidate>,
    milliseconds: f64,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CostTableError {
    #[error("line {line}: a quote is not closed")]
    Quote { line: usize },

    #[error("column `{found}` is not known, expected {}", COLUMNS.join(", "))]
    Column { found: String },

    #[error("column `{name}` is there twice")]
    Twice { name: &'static str },

    #[error("there is no column `latency_ms`")]
    NoLatency,

    #[error("line {line} has {found} fields, expected {expected} as in the header")]
    Fields { line: usize, found: usize, expected: usize },

    #[error("line {line}: {column} is `{found}`, expected {expected}")]
    Field { line: usize, column: &'static str, found: String, expected: &'static str },

    #[error("line {line} is for the same as line {first}")]
    Same { line: usize, first: usize },
}

/// Units that a table has no row for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the cost table has no row for{}\nhint: a row with nothing but a latency is the default for all",
    Lines(units)
)]
pub struct MissingRows {
    pub units: Vec<String>,
}

const COLUMNS: [&str; 5] = ["node", "operator", "shape", "candidate", "latency_ms"];

impl CostTable {
    /// A table from the text of its file.
    pub fn parse(text: &str) -> Result<CostTable, CostTableError> {
        let records = csv::parse(text).map_err(|line| CostTableError::Quote { line })?;
        let mut records = records.into_iter();
        let header = records.next().map_or_else(Vec::new, |(_, fields)| fields);
        let columns = columns(&header)?;
        let mut rows: Vec<(usize, Row)> = Vec::new();
        for (line, fields) in records {
            if fields.len() != header.len() {
                let (found, expected) = (fields.len(), header.len());
                return Err(CostTableError::Fields { line, found, expected });
            }
            let row = read(line, &columns.map(|place| place.map(|place| fields[place].trim())))?;
            if let Some((first, _)) = rows.iter().find(|(_, other)| other.is_for_the_same(&row)) {
                return Err(CostTableError::Same { line, first: *first });
            }
            rows.push((line, row));
        }
        let sha256 = Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(CostTable { sha256, rows: rows.into_iter().map(|(_, row)| row).collect() })
    }

    fn find(&self, timed: &Timed, candidate: Candidate) -> Option<f64> {
        let mut best: Option<&Row> = None;
        for row in self.rows.iter().filter(|row| row.matches(timed, candidate)) {
            if best.is_none_or(|best| best.particularity() < row.particularity()) {
                best = Some(row);
            }
        }
        best.map(|row| row.milliseconds)
    }
}

/// For each of [`COLUMNS`] its place.
fn columns(header: &[String]) -> Result<[Option<usize>; 5], CostTableError> {
    let mut places = [None; 5];
    for (place, name) in header.iter().enumerate() {
        let name = name.trim();
        let column = COLUMNS.iter().position(|column| *column == name);
        let column = column.ok_or_else(|| CostTableError::Column { found: name.to_owned() })?;
        if places[column].replace(place).is_some() {
            return Err(CostTableError::Twice { name: COLUMNS[column] });
        }
    }
    if places[4].is_none() { Err(CostTableError::NoLatency) } else { Ok(places) }
}

/// `fields` are in the order of [`COLUMNS`].
fn read(line: usize, fields: &[Option<&str>; 5]) -> Result<Row, CostTableError> {
    let given = |column: usize| fields[column].filter(|text| !matches!(*text, "" | "*"));
    let bad = |column: usize, expected| CostTableError::Field {
        line,
        column: COLUMNS[column],
        found: fields[column].unwrap_or_default().to_owned(),
        expected,
    };
    let size = |text: &str| match text.trim() {
        "*" => Ok(None),
        text => text.parse().map(Some),
    };
    let shape = |text: &str| text.split('x').map(size).collect::<Result<Vec<_>, _>>();
    let shape = given(2).map(shape).transpose();
    let candidate = given(3).map(str::parse).transpose();
    let milliseconds = fields[4].and_then(|text| text.parse::<f64>().ok());
    let is_time = |milliseconds: &f64| milliseconds.is_finite() && 0. <= *milliseconds;
    Ok(Row {
        node: given(0).map(str::to_owned),
        operator: given(1).map(str::to_owned),
        shape: shape.map_err(|_| bad(2, "sizes such as `8x1x3x3`, `*` for any size"))?,
        candidate: candidate.map_err(|_| bad(3, "a pair such as `W4A8`, or `A8`"))?,
        milliseconds: milliseconds.filter(is_time).ok_or_else(|| bad(4, "a number from 0 on"))?,
    })
}

impl Row {
    fn is_for_the_same(&self, other: &Row) -> bool {
        let key = |row: &Row| Row { milliseconds: 0., ..row.clone() };
        key(self) == key(other)
    }

    fn matches(&self, timed: &Timed, candidate: Candidate) -> bool {
        let is_shape = |shape: &Vec<Option<usize>>| {
            let sizes = || shape.iter().zip(&timed.shape);
            shape.len() == timed.shape.len()
                && sizes().all(|(size, found)| size.is_none_or(|size| size == *found))
        };
        self.node.as_ref().is_none_or(|node| timed.nodes.contains(node))
            && self.operator.as_ref().is_none_or(|operator| *operator == timed.operator)
            && self.shape.as_ref().is_none_or(is_shape)
            && self.candidate.is_none_or(|only| only == candidate)
    }

    fn particularity(&self) -> (bool, bool, usize, bool) {
        let sizes = |shape: &Vec<Option<usize>>| 1 + shape.iter().flatten().count();
        let sizes = self.shape.as_ref().map_or(0, sizes);
        (self.node.is_some(), self.operator.is_some(), sizes, self.candidate.is_some())
    }
}

/// A unit as a table knows it.
struct Timed {
    nodes: Vec<String>,
    operator: String,
    shape: Vec<usize>,
}

impl fmt::Display for Timed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sizes: Vec<String> = self.shape.iter().map(usize::to_string).collect();
        let (node, operator) = (self.nodes.first().map_or("", String::as_str), &self.operator);
        write!(f, "node `{node}` ({operator}, shape {})", sizes.join("x"))
    }
}

/// How long every unit of a network takes at every choice.
#[derive(Debug, Clone, PartialEq)]
pub struct Latency {
    units: Vec<UnitLatency>,
}

#[derive(Debug, Clone, PartialEq)]
struct UnitLatency {
    /// The group whose choice it takes; `None` where it stays float.
    group: Option<usize>,
    has_weight: bool,
    milliseconds: Vec<(Candidate, f64)>,
}

impl Latency {
    /// Looks up what every unit takes at every choice of its group, and at `most_precise`.
    pub fn new(
        graph: &Graph,
        types: &Types,
        placement: &Placement,
        groups: &Groups,
        table: &CostTable,
        most_precise: Candidate,
    ) -> Result<Latency, MissingRows> {
        let mut units = Vec::new();
        let mut missing = Vec::new();
        for unit in &placement.units {
            let weight = placement.weights.iter().position(|site| {
                let is_inside = |node| unit.nodes.contains(node);
                site.nodes.iter().any(is_inside)
            });
            let group = group(graph, placement, groups, unit, weight);
            let timed = timed(graph, types, placement, unit, weight);
            let choices = group.map_or(&[][..], |group| &groups.groups[group].choices);
            let float = Candidate::pair(Bits::FLOAT, Bits::FLOAT);
            let widest = if group.is_some() { most_precise } else { float };
            let mut milliseconds: Vec<(Candidate, f64)> = Vec::new();
            let mut without = Vec::new();
            for choice in choices.iter().copied().chain([widest]) {
                let candidate = of_unit(choice, weight.is_some());
                let is_known = milliseconds.iter().any(|(known, _)| *known == candidate);
                if is_known || without.contains(&candidate) {
                    continue;
                }
                match table.find(&timed, candidate) {
                    Some(time) => milliseconds.push((candidate, time)),
                    None => without.push(candidate),
                }
            }
            if !without.is_empty() {
                let without: Vec<String> = without.iter().map(Candidate::to_string).collect();
                missing.push(format!("{timed} at {}", without.join(", ")));
            }
            units.push(UnitLatency { group, has_weight: weight.is_some(), milliseconds });
        }
        if missing.is_empty() { Ok(Latency { units }) } else { Err(MissingRows { units: missing }) }
    }

    /// `None` if a candidate is none of those that were looked up.
    fn milliseconds(&self, candidates: &[Candidate]) -> Option<f64> {
        let float = Candidate::pair(Bits::FLOAT, Bits::FLOAT);
        let of = |unit: &UnitLatency| {
            let choice = unit.group.map_or(float, |group| candidates[group]);
            let candidate = of_unit(choice, unit.has_weight);
            let known = unit.milliseconds.iter().find(|(known, _)| *known == candidate);
            known.map(|(_, milliseconds)| *milliseconds)
        };
        self.units.iter().map(of).sum()
    }
}

fn of_unit(choice: Candidate, has_weight: bool) -> Candidate {
    let weight = if has_weight { choice.weight.or(Some(Bits::FLOAT)) } else { None };
    Candidate { weight, ..choice }
}

/// That of its weight, else of what it reads first.
fn group(
    graph: &Graph,
    placement: &Placement,
    groups: &Groups,
    unit: &Computed,
    weight: Option<usize>,
) -> Option<usize> {
    if let Some(weight) = weight {
        return groups.groups.iter().position(|group| group.weights.contains(&weight));
    }
    let mut reads = unit.nodes.iter().flat_map(|&id| placement.reads(graph, id));
    let read = reads.next()?;
    groups.groups.iter().position(|group| group.activations.contains(&read))
}

fn timed(
    graph: &Graph,
    types: &Types,
    placement: &Placement,
    unit: &Computed,
    weight: Option<usize>,
) -> Timed {
    let shape = |id: ValueId| types.get(id).map_or_else(Vec::new, |ty| ty.shape.clone());
    let constant = weight.and_then(|index| graph.constant(placement.weights[index].value));
    Timed {
        nodes: unit.nodes.iter().map(|&id| graph.node(id).name.clone()).collect(),
        operator: unit.kind.clone(),
        shape: constant.map_or_else(|| shape(unit.output), |constant| constant.ty().shape.clone()),
    }
}

struct Lines<'a>(&'a [String]);

impl fmt::Display for Lines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|line| write!(f, "\n  {line}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cost::CostModel;
    use crate::graph::testing::{net, types};
    use crate::quant::Target;

    /// What a network of a convolution with a Relu and a Sigmoid takes, by the candidates of its
    /// three groups.
    fn latency(table: &str, candidates: [&str; 3]) -> Result<Option<f64>, MissingRows> {
        let graph = net(&[("x", &[1, 3, 8, 8])])
            .weight("w", &[4, 3, 3, 3])
            .node("Conv", &["x", "w"], "conv")
            .node("Relu", &["conv"], "relu")
            .node("Sigmoid", &["relu"], "y")
            .outputs(&["y"]);
        let target = Target::built_in("generic").unwrap();
        let types = types(&graph);
        let placement = Placement::new(&graph, &types, &target);
        let listed = "W4A8,W8A16".parse().unwrap();
        let groups = Groups::new(&graph, &types, &placement, &target, &listed, &[]).unwrap();
        let table = CostTable::parse(table).unwrap();
        let most_precise = "W8A16".parse().unwrap();
        let latency = Latency::new(&graph, &types, &placement, &groups, &table, most_precise)?;
        let model = CostModel::new(&graph, &types, &placement, &groups, true);
        let model = model.with_latency(Some(latency));
        Ok((METRIC.of)(&model, &candidates.map(|candidate| candidate.parse().unwrap())))
    }

    #[test]
    fn the_most_particular_row_counts() {
        let rows = "node,operator,shape,candidate,latency_ms\n,,,,1\n,Conv,,,10\n";
        for (more, expected) in [
            ("", 11.),
            (",Conv,,W4A8,20", 21.),
            (",Conv,*x3x3x3,,30\n,Conv,,W4A8,20", 31.),
            (",Conv,4x3x3x3,,40\n,Conv,*x3x3x3,W4A8,30", 41.),
            (",Conv,4x1x3x3,,50", 11.),
            ("conv,,,*,60\n,Conv,4x3x3x3,,40", 61.),
            (",Sigmoid,1x4x6x6,A8,70", 80.),
            (",,,A16,5", 11.),
        ] {
            let found = latency(&format!("{rows}{more}\n"), ["W4A8", "A8", "A8"]);
            assert_eq!(found, Ok(Some(expected)), "{more}");
        }
        let wide = ["W8A16", "A16", "A8"];
        assert_eq!(latency(&format!("{rows},,,A16,5\n"), wide), Ok(Some(15.)));
        assert_eq!(latency(&format!("{rows},,,A16,5\n"), ["W2A2", "A16", "A8"]), Ok(None));
    }

    #[test]
    fn missing_rows_are_all_listed() {
        let missing = latency("operator,candidate,latency_ms\nConv,W4A8,1\n", ["W4A8", "A8", "A8"]);
        assert_eq!(
            missing.unwrap_err().to_string(),
            "the cost table has no row for\
             \n  node `conv` (Conv, shape 4x3x3x3) at W8A16\
             \n  node `y` (Sigmoid, shape 1x4x6x6) at A16, A8\
             \nhint: a row with nothing but a latency is the default for all"
        );
    }

    #[test]
    fn bad_tables() {
        for (text, message) in [
            ("", "there is no column `latency_ms`"),
            ("node,candidate\n", "there is no column `latency_ms`"),
            (
                "layer,latency_ms\n",
                "column `layer` is not known, expected node, operator, shape, candidate, latency_ms",
            ),
            ("node,node,latency_ms\n", "column `node` is there twice"),
            ("latency_ms\n1,2\n", "line 2 has 2 fields, expected 1 as in the header"),
            ("node,latency_ms\n\"a,1\n", "line 2: a quote is not closed"),
            (
                "candidate,latency_ms\nint8,1\n",
                "line 2: candidate is `int8`, expected a pair such as `W4A8`, or `A8`",
            ),
            ("latency_ms\n-1\n", "line 2: latency_ms is `-1`, expected a number from 0 on"),
            ("latency_ms\nNaN\n", "line 2: latency_ms is `NaN`, expected a number from 0 on"),
            (
                "shape,latency_ms\n8x3y3,1\n",
                "line 2: shape is `8x3y3`, expected sizes such as `8x1x3x3`, `*` for any size",
            ),
            ("node,latency_ms\na,1\nb,1\na,2\n", "line 4 is for the same as line 2"),
        ] {
            assert_eq!(CostTable::parse(text).unwrap_err().to_string(), message, "{text}");
        }
    }
}
