//! The summary of Phase 1.

use crate::artifact::{RANK_BY_SQNR, Sensitivity};
use crate::report::evaluation::cell;
use crate::report::number::{count, decibels, plural};
use crate::report::{Align, Table};

/// How many of the list's entries are shown.
const SHOWN: usize = 5;

/// What was measured, and the most sensitive entries, worst first.
pub fn sensitivity(file: &Sensitivity) -> String {
    let measurements: usize = file.groups.iter().map(|group| group.choices.len()).sum();
    let rank_by = file.settings.rank_by.as_str();
    let is_ranked = rank_by != RANK_BY_SQNR;
    let mut columns = vec![("most sensitive", Align::Left), ("candidate", Align::Left)];
    columns.extend(is_ranked.then_some((rank_by, Align::Right)));
    columns.extend([("SQNR", Align::Right), ("MACs", Align::Right)]);
    let mut table = Table::new(&columns);
    for entry in file.list.iter().rev().take(SHOWN) {
        let group = file.groups.iter().find(|group| group.id == entry.group);
        let Some(group) = group else { continue };
        let choice = group.choices.iter().find(|choice| choice.candidate == entry.candidate);
        let score = || cell(rank_by, choice.and_then(|choice| choice.score));
        let mut cells = vec![entry.group.clone(), entry.candidate.to_string()];
        cells.extend(is_ranked.then(score));
        cells.extend([decibels(choice.and_then(|choice| choice.sqnr_db)), count(group.macs)]);
        table.row(cells);
    }
    format!(
        "{}, {}\n{table}",
        plural(file.groups.len() as u64, "group"),
        plural(measurements as u64, "measurement")
    )
}
