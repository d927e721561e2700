//! [`Table`]: columns of text, aligned.

use std::fmt;

/// Which side of its column a cell stands on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Align {
    Left,
    Right,
}

/// Rows under a heading, two spaces apart. Displayed without a newline at the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    columns: Vec<Align>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// Columns by title; titles are the first row.
    pub fn new(columns: &[(&str, Align)]) -> Table {
        Table {
            columns: columns.iter().map(|&(_, align)| align).collect(),
            rows: vec![columns.iter().map(|&(title, _)| title.to_owned()).collect()],
        }
    }

    /// # Panics
    /// If there are not as many cells as columns.
    pub fn row<T: Into<String>>(&mut self, cells: impl IntoIterator<Item = T>) -> &mut Table {
        let cells: Vec<String> = cells.into_iter().map(Into::into).collect();
        assert_eq!(cells.len(), self.columns.len(), "a cell for each column");
        self.rows.push(cells);
        self
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = |at: usize| {
            let widths = self.rows.iter().map(|row| row[at].chars().count());
            widths.max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.columns.len()).map(width).collect();
        for (i, row) in self.rows.iter().enumerate() {
            let cells = row.iter().zip(&self.columns).zip(&widths);
            let cells = cells.map(|((cell, align), &width)| match align {
                Align::Left => format!("{cell:<width$}"),
                Align::Right => format!("{cell:>width$}"),
            });
            let line = cells.collect::<Vec<_>>().join("  ");
            let newline = if i == 0 { "" } else { "\n" };
            write!(f, "{newline}{}", line.trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn columns_are_aligned() {
        let mut table =
            Table::new(&[("name", Align::Left), ("n", Align::Right), ("", Align::Left)]);
        table.row(["a", "12345", "x"]).row(["längér", "1", ""]);
        expect![[r#"
            name        n
            a       12345  x
            längér      1"#]]
        .assert_eq(&table.to_string());
    }
}
