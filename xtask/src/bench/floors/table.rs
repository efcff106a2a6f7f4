//! Prints the table of floors and aims: a row for each figure, a column for each store. It compares each figure of Cordwood with its aim
//! and its floor, some of them with the figure of format 1, and prints `aim`, `ok` or `short` behind it.

use std::collections::HashMap;

/// What a figure must not exceed, and should not.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Bound {
    None,
    AtMost {
        floor: f64,
        aim: f64,
    },
    /// Times the figure of [`FORMAT_1`].
    TimesFormat1 {
        floor: f64,
        aim: f64,
    },
}

/// The column that others are held against.
pub const FORMAT_1: &str = "format 1";

#[derive(Clone, Debug)]
pub struct Row {
    pub name: String,
    pub unit: &'static str,
    pub bound: Bound,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Cell {
    pub value: f64,
    /// How it came about; may be empty.
    pub note: String,
}

impl Cell {
    pub fn new(value: f64, note: impl Into<String>) -> Cell {
        Cell { value, note: note.into() }
    }
}

/// What was measured of one store, by the names of the rows.
#[derive(Clone, Debug, Default)]
pub struct Column {
    pub name: String,
    /// It is held against floors and aims.
    pub is_judged: bool,
    pub cells: HashMap<String, Cell>,
    /// Why there is not more.
    pub missing: Option<String>,
}

impl Column {
    pub fn new(name: impl Into<String>, is_judged: bool) -> Column {
        Column { name: name.into(), is_judged, ..Column::default() }
    }

    pub fn put(&mut self, row: impl Into<String>, cell: Cell) {
        self.cells.insert(row.into(), cell);
    }
}

/// `aim`, `ok` (the floor) or `short`; empty where there is nothing to hold it against.
fn verdict(bound: Bound, value: f64, of_format_1: Option<f64>) -> &'static str {
    let (floor, aim) = match (bound, of_format_1) {
        (Bound::None, _) | (Bound::TimesFormat1 { .. }, None) => return "",
        (Bound::AtMost { floor, aim }, _) => (floor, aim),
        (Bound::TimesFormat1 { floor, aim }, Some(first)) => (floor * first, aim * first),
    };
    if value <= aim {
        "aim"
    } else if value <= floor {
        "ok"
    } else {
        "short"
    }
}

/// A share, which has no unit, to four places.
fn number(value: f64, unit: &str) -> String {
    match value {
        value if unit.is_empty() => format!("{value:.4}"),
        value if value >= 100.0 => format!("{value:.0}"),
        value if value >= 1.0 => format!("{value:.1}"),
        value => format!("{value:.2}"),
    }
}

/// The whole table, its lines below each other. A figure's note stands behind it in brackets.
pub fn table(rows: &[Row], columns: &[Column]) -> String {
    let names = ["", "floor", "aim"].into_iter().chain(columns.iter().map(|column| column.name.as_str()));
    let mut lines = vec![names.map(str::to_owned).collect::<Vec<_>>()];
    for row in rows {
        let of_format_1 = columns.iter().find(|column| column.name == FORMAT_1);
        let of_format_1 = of_format_1.and_then(|column| column.cells.get(&row.name)).map(|cell| cell.value);
        let (floor, aim) = match row.bound {
            Bound::None => (String::new(), String::new()),
            Bound::AtMost { floor, aim } => (floor.to_string(), aim.to_string()),
            Bound::TimesFormat1 { floor, aim } => (format!("{floor}x {FORMAT_1}"), format!("{aim}x")),
        };
        let name = if row.unit.is_empty() { row.name.clone() } else { format!("{}, {}", row.name, row.unit) };
        let mut line = vec![name, floor, aim];
        for column in columns {
            let Some(cell) = column.cells.get(&row.name) else {
                line.push("-".to_owned());
                continue;
            };
            let is_held = column.is_judged
                && (column.name != FORMAT_1 || !matches!(row.bound, Bound::TimesFormat1 { .. }));
            let verdict = if is_held { verdict(row.bound, cell.value, of_format_1) } else { "" };
            let note = if cell.note.is_empty() { String::new() } else { format!("({})", cell.note) };
            let parts = [number(cell.value, row.unit), verdict.to_owned(), note];
            line.push(parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" "));
        }
        lines.push(line);
    }
    let mut text = aligned(&lines);
    for column in columns {
        if let Some(why) = &column.missing {
            text.push_str(&format!("{}: {why}\n", column.name));
        }
    }
    text
}

/// Columns of text below each other, two spaces apart.
pub fn aligned(lines: &[Vec<String>]) -> String {
    let count = lines.iter().map(Vec::len).max().unwrap_or_default();
    let width = |column: usize| {
        lines
            .iter()
            .filter_map(|line| line.get(column))
            .map(|cell| cell.chars().count())
            .max()
            .unwrap_or_default()
    };
    let widths: Vec<usize> = (0..count).map(width).collect();
    let mut text = String::new();
    for line in lines {
        let cells = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_is_held_against_aim_and_floor() {
        let at_most = Bound::AtMost { floor: 10.0, aim: 3.0 };
        let times = Bound::TimesFormat1 { floor: 1.3, aim: 1.0 };
        for (bound, value, of_format_1, expected) in [
            (at_most, 3.0, None, "aim"),
            (at_most, 3.1, None, "ok"),
            (at_most, 10.1, Some(20.0), "short"),
            (times, 2.0, Some(2.0), "aim"),
            (times, 2.5, Some(2.0), "ok"),
            (times, 2.7, Some(2.0), "short"),
            (times, 2.7, None, ""),
            (Bound::None, 2.7, Some(2.0), ""),
        ] {
            assert_eq!(verdict(bound, value, of_format_1), expected, "{bound:?} {value}");
        }
    }

    #[test]
    fn only_judged_columns_have_a_verdict_and_what_is_missing_says_why() {
        let rows =
            [Row { name: "size".to_owned(), unit: "", bound: Bound::AtMost { floor: 0.11, aim: 0.09 } }];
        let mut own = Column::new("format 2", true);
        own.put("size", Cell::new(0.1, "after a VACUUM"));
        let mut other = Column::new("another", false);
        other.put("size", Cell::new(0.104, ""));
        let none = Column { missing: Some("not to be had".to_owned()), ..Column::new("third", false) };
        assert_eq!(
            table(&rows, &[own, other, none]),
            "      floor  aim   format 2                    another  third\n\
             size  0.11   0.09  0.1000 ok (after a VACUUM)  0.1040   -\n\
             third: not to be had\n"
        );
    }
}
