//! Terminal tables, and the report of a configuration: text from the numbers of the files. Nothing here prints.

mod conversions;
mod difference;
mod document;
mod evaluation;
mod goal;
mod inspect;
mod number;
mod rounded;
mod search;
mod sensitivity;
mod table;

pub use conversions::conversions;
pub use difference::{config_difference, list_difference, unexpected};
pub use document::{FORMATS, Format, PARTS, Part, Report};
pub use evaluation::evaluation;
pub use goal::cheaper_baseline;
pub use inspect::inspect;
pub use number::{bytes, count, decibels};
pub use rounded::rounded;
pub use search::{RESULT, better_baseline, search};
pub use sensitivity::sensitivity;
pub use table::{Align, Table};
