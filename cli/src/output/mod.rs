//! Prints records: a table for people, JSON lines for programs, raw bodies for the application that wrote them.

pub mod columns;
pub mod csv;
pub mod escape;
pub mod style;
mod table;

use std::io::{self, IsTerminal, Write};

use cordwood_core::entry::Entry;
use cordwood_core::origin::Origin;
use cordwood_store::search::OwnedRecord;

pub use style::{ColorChoice, Style};
pub use table::TimeZoneChoice;

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// One line a record: time, level, tenant, service, message, the rest
    Table,
    /// One JSON object a line with all fields of the record
    Json,
    /// The bytes that the application wrote, one record a line
    Raw,
}

/// Writes records to stdout. Whatever is printed to a terminal is made safe for it.
pub struct Printer {
    out: io::BufWriter<io::Stdout>,
    format: Format,
    table: table::Table,
    escape_raw: bool,
}

pub struct PrinterOptions {
    pub format: Format,
    pub color: ColorChoice,
    pub zone: TimeZoneChoice,
    /// Print raw bodies to a terminal as they are.
    pub raw_control: bool,
    /// Do not cut long lines at the terminal's edge.
    pub full: bool,
}

impl Printer {
    pub fn new(options: &PrinterOptions) -> Printer {
        let terminal = io::stdout().is_terminal();
        let width = (terminal && !options.full).then(terminal_columns).flatten();
        Printer {
            out: io::BufWriter::with_capacity(64 << 10, io::stdout()),
            format: options.format,
            table: table::Table::new(Style::stdout(options.color), options.zone, width),
            escape_raw: terminal && !options.raw_control,
        }
    }

    /// Records of one page in the order they are given; a table's columns are as wide as they need.
    pub fn page<'a>(
        &mut self,
        records: impl Iterator<Item = (&'a OwnedRecord, &'a Origin)>,
    ) -> io::Result<()> {
        match self.format {
            Format::Table => {
                let rows = records.map(|(record, origin)| self.table.row(record, origin)).collect();
                self.table.print(&mut self.out, rows)?;
            }
            Format::Json => {
                for (record, origin) in records {
                    // JSON escapes every control character below 0x20 itself; DEL, C1 and overrides are left to it as text.
                    let record = record.as_record();
                    let line =
                        serde_json::to_string(&Entry::new(&record, origin)).map_err(io::Error::other)?;
                    if self.escape_raw {
                        self.out.write_all(escape::json(&line).as_bytes())?;
                    } else {
                        self.out.write_all(line.as_bytes())?;
                    }
                    self.out.write_all(b"\n")?;
                }
            }
            Format::Raw => {
                for (record, _) in records {
                    if self.escape_raw {
                        self.out.write_all(escape::body(&record.body).as_bytes())?;
                    } else {
                        self.out.write_all(&record.body)?;
                    }
                    self.out.write_all(b"\n")?;
                }
            }
        }
        self.out.flush()
    }
}

/// Columns of the terminal at stdout.
fn terminal_columns() -> Option<usize> {
    if let Some(columns) = std::env::var("COLUMNS").ok().and_then(|text| text.parse().ok()) {
        return Some(columns);
    }
    let size = rustix::termios::tcgetwinsize(io::stdout()).ok()?;
    (size.ws_col > 0).then_some(usize::from(size.ws_col))
}
