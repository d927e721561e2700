//! [`Sheet`]: a table of final texts, for every format.

use crate::report::Align;

/// Rows under named columns.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Sheet {
    pub(super) columns: Vec<Column>,
    pub(super) rows: Vec<Row>,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Column {
    /// For programs.
    pub(super) key: String,
    /// For people.
    pub(super) title: String,
    pub(super) align: Align,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Row {
    pub(super) cells: Vec<Cell>,
    /// The one of its table that the report is about.
    pub(super) is_marked: bool,
}

/// What is unknown is empty in both.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Cell {
    /// For people, with its unit.
    pub(super) text: String,
    /// For programs, with all digits.
    pub(super) value: String,
}

impl Cell {
    pub(super) fn text(text: &str) -> Cell {
        Cell { text: text.to_owned(), value: text.to_owned() }
    }

    /// Nothing at all where the value is unknown.
    pub(super) fn of<T: ToString>(value: Option<T>, text: impl FnOnce(T) -> String) -> Cell {
        let Some(value) = value else { return Cell::text("") };
        Cell { value: value.to_string(), text: text(value) }
    }

    /// Names, one a line.
    pub(super) fn names(names: &[String]) -> Cell {
        Cell { text: names.join("\n"), value: names.join(" ") }
    }
}

impl Sheet {
    /// Columns by key, title and side.
    pub(super) fn new(columns: &[(&str, &str, Align)]) -> Sheet {
        let mut sheet = Sheet { columns: Vec::new(), rows: Vec::new() };
        columns.iter().for_each(|&(key, title, align)| sheet.column(key, title, align));
        sheet
    }

    pub(super) fn column(&mut self, key: &str, title: &str, align: Align) {
        self.columns.push(Column { key: key.to_owned(), title: title.to_owned(), align });
    }

    /// # Panics
    /// If there are not as many cells as columns.
    pub(super) fn row(&mut self, is_marked: bool, cells: Vec<Cell>) {
        assert_eq!(cells.len(), self.columns.len(), "a cell for each column");
        self.rows.push(Row { cells, is_marked });
    }
}
