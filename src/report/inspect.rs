//! The tables of `mpq inspect`.

use std::fmt::Write as _;

use crate::pipeline::{InspectedGroup, Inspection, Port, PortDim, Reason};
use crate::report::number::{UNKNOWN, bytes, count};
use crate::report::{Align, Table};

/// More names of a kind than these are only counted.
const SHOWN: usize = 8;

/// A model and its groups; ends in a newline.
pub fn inspect(inspection: &Inspection) -> String {
    let mut sections = vec![facts(inspection), ports(inspection), operators(inspection)];
    if !inspection.unsupported.is_empty() {
        sections.push(unsupported(inspection));
    }
    sections.extend(inspection.groups.as_deref().map(groups));
    sections.extend(units(inspection));
    sections.extend(not_quantized(inspection));
    sections.extend(
        inspection.incomplete.as_ref().map(|why| format!("MACs and groups are unknown: {why}")),
    );
    sections.join("\n\n") + "\n"
}

fn facts(inspection: &Inspection) -> String {
    let mut text = format!(
        "{}, opset {}\nsha256      {}\nparameters  {} ({})\nMACs        {}",
        inspection.model.file,
        inspection.opset,
        inspection.model.sha256,
        count(inspection.parameters),
        bytes(inspection.parameter_bytes),
        inspection.macs.map_or_else(|| UNKNOWN.to_owned(), count),
    );
    if let Some(macs) = inspection.float_macs.filter(|&macs| 0 < macs) {
        write!(text, ", {} of them in float", count(macs)).expect("a String takes all");
    }
    for (nodes, note) in [
        (
            &inspection.unknown_shapes,
            "unknown     shapes of these nodes depend on data, MACs count as 0",
        ),
        (&inspection.subgraphs, "subgraphs   stay in float, MACs count as 0"),
    ] {
        let Some(nodes) = nodes.as_deref().filter(|nodes| !nodes.is_empty()) else { continue };
        let nodes = names(nodes.iter().map(String::as_str));
        write!(text, "\n{note}: {nodes}").expect("a String takes all");
    }
    text
}

fn ports(inspection: &Inspection) -> String {
    let mut table = Table::new(&["", "name", "type", "shape"].map(|title| (title, Align::Left)));
    let mut add = |kind: &str, port: &Port| {
        let dtype = port.dtype.clone().unwrap_or_else(|| UNKNOWN.to_owned());
        let shape = port.shape.as_deref().map_or_else(|| UNKNOWN.to_owned(), shape_text);
        table.row([kind.to_owned(), port.name.clone(), dtype, shape]);
    };
    inspection.inputs.iter().for_each(|port| add("input", port));
    inspection.outputs.iter().for_each(|port| add("output", port));
    table.to_string()
}

fn shape_text(dims: &[PortDim]) -> String {
    let dim = |dim: &PortDim| match dim {
        PortDim::Size(size) => size.to_string(),
        PortDim::Free(name) => name.clone().unwrap_or_else(|| "?".to_owned()),
    };
    format!("[{}]", dims.iter().map(dim).collect::<Vec<_>>().join(", "))
}

fn operators(inspection: &Inspection) -> String {
    let mut table = Table::new(&[("operator", Align::Left), ("nodes", Align::Right)]);
    for operator in &inspection.operators {
        let name = match operator.domain.as_str() {
            "ai.onnx" => operator.operator.clone(),
            domain => format!("{domain}.{}", operator.operator),
        };
        table.row([name, operator.nodes.to_string()]);
    }
    table.to_string()
}

fn unsupported(inspection: &Inspection) -> String {
    let titles = ["node that cannot run", "operator", "opset", "problem"];
    let mut table = Table::new(&titles.map(|title| (title, Align::Left)));
    for bad in &inspection.unsupported {
        let opset = bad.opset.to_string();
        table.row([bad.node.clone(), bad.operator.clone(), opset, bad.reason.clone()]);
    }
    table.to_string()
}

/// As many rows for a group as its longest list of members has.
fn groups(groups: &[InspectedGroup]) -> String {
    let mut table = Table::new(&[
        ("group", Align::Right),
        ("MACs", Align::Right),
        ("weights", Align::Right),
        ("choices", Align::Left),
        ("activations", Align::Left),
        ("weight tensors", Align::Left),
        ("nodes", Align::Left),
        ("tied by", Align::Left),
    ]);
    for (number, group) in groups.iter().enumerate() {
        let choices: Vec<String> = group.choices.iter().map(ToString::to_string).collect();
        let weights: Vec<String> = group.weights.iter().chain(&group.operands).cloned().collect();
        let lists = [&group.activations, &weights, &group.nodes, &group.tied_by];
        let height = lists.iter().map(|list| list.len()).max().unwrap_or(0).max(1);
        for row in 0..height {
            let mut cells = vec![String::new(); 4];
            if row == 0 {
                let (macs, elements) = (count(group.macs), count(group.weight_elements));
                let pinned = if group.pinned { " pinned" } else { "" };
                let choices = choices.join(" ") + pinned;
                cells = vec![(number + 1).to_string(), macs, elements, choices];
            }
            cells.extend(lists.map(|list| list.get(row).cloned().unwrap_or_default()));
            table.row(cells);
        }
    }
    table.to_string()
}

fn units(inspection: &Inspection) -> Option<String> {
    let units = inspection.units.as_deref().filter(|units| !units.is_empty())?;
    let titles = ["computed as one", "rounded", "nodes"];
    let mut table = Table::new(&titles.map(|title| (title, Align::Left)));
    for unit in units {
        table.row([unit.kind.clone(), unit.output.clone(), unit.nodes.join(", ")]);
    }
    Some(table.to_string())
}

fn not_quantized(inspection: &Inspection) -> Option<String> {
    let tensors = inspection.not_quantized.as_deref().filter(|tensors| !tensors.is_empty())?;
    let titles = [("not quantized", Align::Right), ("why", Align::Left), ("tensors", Align::Left)];
    let mut table = Table::new(&titles);
    for (reason, why) in [
        (Reason::InsideUnit, "inside what is computed as one"),
        (Reason::Mask, "computed from integers and constants alone"),
        (Reason::Parameter, "a scale, a grid or the like"),
        (Reason::NotFloat32, "not float32"),
        (Reason::NotRead, "no quantized operator reads it"),
        (Reason::UnknownType, "its type depends on data"),
    ] {
        let of_reason = tensors.iter().filter(|tensor| tensor.reason == reason);
        let found: Vec<&str> = of_reason.map(|tensor| tensor.tensor.as_str()).collect();
        if !found.is_empty() {
            table.row([found.len().to_string(), why.to_owned(), names(found.into_iter())]);
        }
    }
    Some(table.to_string())
}

/// The first names of a list, and how many more there are.
fn names<'a>(names: impl ExactSizeIterator<Item = &'a str>) -> String {
    let more = names.len().saturating_sub(SHOWN);
    let mut text = names.take(SHOWN).collect::<Vec<_>>().join(", ");
    if 0 < more {
        write!(text, " and {more} more").expect("a String takes all");
    }
    text
}
