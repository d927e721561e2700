//! [`PARTS`]: what a report consists of. Each is a table, some are pictures as well.

mod bits;
mod conversions;
mod cost;
mod curve;
mod groups;
mod sensitivity;
mod settings;
mod summary;

use crate::report::document::Report;
use crate::report::document::chart::Chart;
use crate::report::document::sheet::Sheet;

pub(super) use curve::point_titles;
pub(super) use summary::{Fact, facts, notes};

/// Every part, in the order of the report. The one list to extend.
pub const PARTS: &[Part] = &[
    summary::PART,
    curve::PART,
    sensitivity::PART,
    bits::PART,
    cost::PART,
    groups::PART,
    conversions::PART,
    settings::PART,
];

/// One row of the table of parts.
#[derive(Debug, Clone, Copy)]
pub struct Part {
    /// In `--part`.
    pub name: &'static str,
    pub title: &'static str,
    /// What a reader has to know to read it; a sentence or two.
    pub(super) doc: fn(&Report<'_>) -> String,
    pub(super) sheet: fn(&Report<'_>) -> Sheet,
    /// Its pictures at a width in pixels.
    pub(super) charts: Option<Charts>,
    /// Whether the table is what the part is about, instead of the details of a picture.
    pub(super) is_table: bool,
}

pub(super) type Charts = fn(&Report<'_>, f64) -> Vec<Chart>;

impl Part {
    pub fn find(name: &str) -> Option<&'static Part> {
        PARTS.iter().find(|part| part.name == name)
    }

    pub fn has_charts(&self) -> bool {
        self.charts.is_some()
    }
}
