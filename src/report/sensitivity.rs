//! The summary of Phase 1.

use crate::artifact::Sensitivity;
use crate::report::number::{count, decibels, plural};
use crate::report::{Align, Table};

/// How many of the list's entries are shown.
const SHOWN: usize = 5;

/// What was measured, and the most sensitive entries, worst first.
pub fn sensitivity(file: &Sensitivity) -> String {
    let measurements: usize = file.groups.iter().map(|group| group.choices.len()).sum();
    let mut table = Table::new(&[
        ("most sensitive", Align::Left),
        ("candidate", Align::Left),
        ("SQNR", Align::Right),
        ("MACs", Align::Right),
    ]);
    for entry in file.list.iter().rev().take(SHOWN) {
        let group = file.groups.iter().find(|group| group.id == entry.group);
        let Some(group) = group else { continue };
        let choice = group.choices.iter().find(|choice| choice.candidate == entry.candidate);
        table.row([
            entry.group.clone(),
            entry.candidate.to_string(),
            decibels(choice.and_then(|choice| choice.sqnr_db)),
            count(group.macs),
        ]);
    }
    format!(
        "{}, {}\n{table}",
        plural(file.groups.len() as u64, "group"),
        plural(measurements as u64, "measurement")
    )
}
