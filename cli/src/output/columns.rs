//! Prints small tables of text (audit, plan): each column is as wide as its widest cell, numbers are aligned right, the last column is open.

use std::fmt::Write as _;

use super::escape;
use super::style::Style;

#[derive(Debug, Default)]
pub struct Columns {
    heads: Vec<(&'static str, Align)>,
    rows: Vec<Vec<String>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Align {
    Left,
    Right,
}

impl Columns {
    pub fn new(heads: &[(&'static str, Align)]) -> Columns {
        Columns { heads: heads.to_vec(), rows: Vec::new() }
    }

    /// As many cells as there are columns; made safe for a terminal here.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        let cells: Vec<String> = cells.into_iter().map(|cell| escape::one_line(&cell).into_owned()).collect();
        debug_assert_eq!(cells.len(), self.heads.len());
        self.rows.push(cells);
    }

    pub fn render(&self, style: Style) -> String {
        let widths: Vec<usize> = self
            .heads
            .iter()
            .enumerate()
            .map(|(at, (head, _))| {
                self.rows.iter().map(|row| escape::width(&row[at])).chain([head.len()]).max().unwrap_or(0)
            })
            .collect();
        let heads: Vec<String> = self.heads.iter().map(|(head, _)| (*head).to_owned()).collect();
        let mut out = style.dim(self.line(&heads, &widths).trim_end());
        out.push('\n');
        for row in &self.rows {
            out.push_str(self.line(row, &widths).trim_end());
            out.push('\n');
        }
        out
    }

    fn line(&self, cells: &[String], widths: &[usize]) -> String {
        let mut line = String::new();
        for (at, ((cell, (_, align)), width)) in cells.iter().zip(&self.heads).zip(widths).enumerate() {
            let padding = " ".repeat(width.saturating_sub(escape::width(cell)));
            let gap = if at == 0 { "" } else { "  " };
            let _ = match align {
                Align::Left => write!(line, "{gap}{cell}{padding}"),
                Align::Right => write!(line, "{gap}{padding}{cell}"),
            };
        }
        line
    }
}

/// `1 stream`, `2 streams`.
pub fn counted(number: u64, thing: &str) -> String {
    format!("{} {thing}{}", grouped(number), if number == 1 { "" } else { "s" })
}

/// `1234567` -> `1,234,567`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `1536` -> `1.5 KiB`.
pub fn bytes(number: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if number < 1024 {
        return format!("{number} B");
    }
    #[allow(clippy::cast_precision_loss)]
    let mut value = number as f64;
    let mut unit = "";
    for next in UNITS {
        if value < 1024.0 {
            break;
        }
        value /= 1024.0;
        unit = next;
    }
    format!("{value:.1} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let mut columns = Columns::new(&[("NAME", Align::Left), ("N", Align::Right), ("WHY", Align::Left)]);
        columns.row(["日本".into(), "7".into(), "a\nb".into()]);
        columns.row(["longer".into(), "1,000".into(), String::new()]);
        let expected = "NAME        N  WHY\n日本        7  a\\nb\nlonger  1,000\n";
        assert_eq!(columns.render(Style::plain()), expected);
    }

    #[test]
    fn numbers_are_readable() {
        assert_eq!([0, 999, 1000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([0, 1023, 1536, 5 << 30].map(bytes), ["0 B", "1023 B", "1.5 KiB", "5.0 GiB"]);
    }
}
