//! Writes an export as JSON lines, as CSV, or as the application's own bytes. Each form ends with a line that is not a record and says whether
//! the export is complete.

use std::collections::HashMap;

use cordwood_core::entry::{Column, Entry, FIELDS};
use cordwood_core::origin::Origin;
use cordwood_store::search::OwnedRecord;
use serde::Serialize;
use serde_json::value::RawValue;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    NdJson,
    Csv,
    Text,
}

/// The last line of JSON lines.
#[derive(Serialize)]
struct End<'a> {
    end: Summary<'a>,
}

#[derive(Serialize)]
struct Summary<'a> {
    complete: bool,
    records: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'a str>,
}

impl Kind {
    pub fn content_type(self) -> &'static str {
        match self {
            Kind::NdJson => "application/x-ndjson",
            Kind::Csv => "text/csv; charset=utf-8; header=present",
            Kind::Text => "text/plain; charset=utf-8",
        }
    }

    pub fn head(self, out: &mut Vec<u8>) {
        if self == Kind::Csv {
            let names: Vec<&str> = FIELDS.iter().map(|(name, _)| *name).collect();
            out.extend_from_slice(names.join(",").as_bytes());
            out.extend_from_slice(b"\r\n");
        }
    }

    /// # Errors
    /// When it cannot be written; then nothing of it is.
    pub fn record(self, out: &mut Vec<u8>, record: &OwnedRecord, origin: &Origin) -> serde_json::Result<()> {
        if self == Kind::Text {
            text(out, &record.body);
            return Ok(());
        }
        let borrowed = record.as_record();
        let line = serde_json::to_string(&Entry::new(&borrowed, origin))?;
        if self == Kind::NdJson {
            out.extend_from_slice(line.as_bytes());
            out.push(b'\n');
        } else {
            row(out, &line);
        }
        Ok(())
    }

    pub fn end(
        self,
        out: &mut Vec<u8>,
        complete: bool,
        records: u64,
        next: Option<&str>,
        detail: Option<&str>,
    ) {
        let end = End { end: Summary { complete, records, next, detail } };
        let line = serde_json::to_string(&end).unwrap_or_default();
        match self {
            Kind::NdJson => out.extend_from_slice(format!("{line}\n").as_bytes()),
            Kind::Csv => out.extend_from_slice(format!("# {line}\r\n").as_bytes()),
            Kind::Text => out.extend_from_slice(format!("# {line}\n").as_bytes()),
        }
    }
}

/// The application's own bytes. A further line of a record begins with a tab, and a record that begins as the last line of an export does
/// with a backslash: nothing that an application wrote reads as that line.
fn text(out: &mut Vec<u8>, body: &[u8]) {
    if body.starts_with(b"#") || body.starts_with(b"\\") {
        out.push(b'\\');
    }
    for (place, byte) in body.iter().enumerate() {
        out.push(*byte);
        if *byte == b'\n' || (*byte == b'\r' && body.get(place + 1) != Some(&b'\n')) {
            out.push(b'\t');
        }
    }
    out.push(b'\n');
}

/// `line`: an entry as JSON.
fn row(out: &mut Vec<u8>, line: &str) {
    let fields: HashMap<&str, &RawValue> = serde_json::from_str(line).unwrap_or_default();
    for (place, (name, column)) in FIELDS.iter().enumerate() {
        if place > 0 {
            out.push(b',');
        }
        let Some(raw) = fields.get(name) else { continue };
        match column {
            Column::Text | Column::Timestamp => {
                cell(out, &serde_json::from_str::<String>(raw.get()).unwrap_or_default());
            }
            Column::Number | Column::Json | Column::Flag => cell(out, raw.get()),
        }
    }
    out.extend_from_slice(b"\r\n");
}

/// RFC 4180. What a spreadsheet would take for a formula gets an apostrophe in front; what another separator than the comma would
/// make a cell of its own is in quotation marks.
fn cell(out: &mut Vec<u8>, text: &str) {
    let is_formula = text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠']);
    let is_quoted = is_formula || text.contains(['"', ',', ';', '|', '\t', '\n', '\r']);
    if is_quoted {
        out.push(b'"');
    }
    if is_formula {
        out.push(b'\'');
    }
    out.extend_from_slice(if is_quoted { text.replace('"', "\"\"") } else { text.to_owned() }.as_bytes());
    if is_quoted {
        out.push(b'"');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_quoted_and_no_formulas() {
        for (text, expected) in [
            ("plain", "plain"),
            ("", ""),
            ("a,b", "\"a,b\""),
            ("say \"so\"", "\"say \"\"so\"\"\""),
            ("two\nlines", "\"two\nlines\""),
            ("=1+1", "\"'=1+1\""),
            ("@SUM(A1)", "\"'@SUM(A1)\""),
            ("-1,2", "\"'-1,2\""),
            ("+49", "\"'+49\""),
            ("\tx", "\"'\tx\""),
            ("\r=1", "\"'\r=1\""),
            ("\n=1", "\"'\n=1\""),
            ("＝1+1", "\"'＝1+1\""),
            // A cell of its own in a program that takes another separator.
            ("a;=1+1;b", "\"a;=1+1;b\""),
            ("a\t=1+1", "\"a\t=1+1\""),
            ("a|=1+1", "\"a|=1+1\""),
            ("a\r=1+1", "\"a\r=1+1\""),
            ("a=b", "a=b"),
        ] {
            let mut out = Vec::new();
            cell(&mut out, text);
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }

    #[test]
    fn no_record_reads_as_the_last_line() {
        for (body, expected) in [
            ("plain", "plain\n"),
            ("", "\n"),
            ("a # b \\", "a # b \\\n"),
            ("trace\n  at x\n", "trace\n\t  at x\n\t\n"),
            ("x\n# {\"end\":{\"complete\":true}}", "x\n\t# {\"end\":{\"complete\":true}}\n"),
            ("x\r# y", "x\r\t# y\n"),
            ("x\r\n# y\r\n", "x\r\n\t# y\r\n\t\n"),
            ("# {\"end\":{}}", "\\# {\"end\":{}}\n"),
            ("\\# y", "\\\\# y\n"),
        ] {
            let mut out = Vec::new();
            text(&mut out, body.as_bytes());
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }

    #[test]
    fn a_row_has_a_cell_for_each_name_of_the_head() {
        let mut out = Vec::new();
        Kind::Csv.head(&mut out);
        row(
            &mut out,
            r#"{"id":"1.0-1-1","level":"ERROR","message":"a, b","line":7,"data":{"n":12345678901234567890123},"truncated":true}"#,
        );
        let text = String::from_utf8(out).unwrap();
        let (head, row) = text.split_once("\r\n").unwrap();
        let place = |name: &str| head.split(',').position(|known| known == name).unwrap();
        assert_eq!(head.split(',').count(), FIELDS.len());
        // The message is the one cell with a comma of its own.
        assert_eq!(row.matches(',').count(), FIELDS.len());
        let before: Vec<&str> = row.split(',').collect();
        assert_eq!(
            (before[place("id")], before[place("level")], before[place("line")]),
            ("1.0-1-1", "ERROR", "7")
        );
        assert!(row.contains("\"a, b\"") && row.contains("12345678901234567890123"), "{row}");
    }

    #[test]
    fn the_last_line_says_whether_all_is_there() {
        let line = |kind: Kind, complete, next, detail| {
            let mut out = Vec::new();
            kind.end(&mut out, complete, 7, next, detail);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(line(Kind::NdJson, true, None, None), "{\"end\":{\"complete\":true,\"records\":7}}\n");
        assert_eq!(
            line(Kind::Csv, false, Some("5.0-1-1"), Some("away")),
            "# {\"end\":{\"complete\":false,\"records\":7,\"next\":\"5.0-1-1\",\"detail\":\"away\"}}\r\n"
        );
        assert_eq!(line(Kind::Text, true, None, None), "# {\"end\":{\"complete\":true,\"records\":7}}\n");
    }
}
