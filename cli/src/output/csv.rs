//! Writes rows of CSV (RFC 4180), for spreadsheets.

/// One row, its end included.
pub fn row(cells: impl IntoIterator<Item = impl AsRef<str>>) -> String {
    let cells: Vec<String> = cells.into_iter().map(|text| cell(text.as_ref())).collect();
    format!("{}\r\n", cells.join(","))
}

/// What a spreadsheet would take for a formula gets a ' before it.
fn cell(text: &str) -> String {
    let formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']) && text.parse::<f64>().is_err();
    let text = if formula { format!("'{text}") } else { text.to_owned() };
    if text.contains([',', '"', '\r', '\n']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}

#[cfg(test)]
mod tests {
    #[test]
    fn cells_are_quoted_and_no_formulas() {
        let cells = ["a", "", "b,c", "say \"no\"", "two\nlines", "=1+1", "-5", "@ann"];
        let expected = "a,,\"b,c\",\"say \"\"no\"\"\",\"two\nlines\",'=1+1,-5,'@ann\r\n";
        assert_eq!(super::row(cells), expected);
    }
}
