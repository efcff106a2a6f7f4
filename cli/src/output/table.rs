//! Prints records as a table, `time level tenant service message key=value ...`, cut at the terminal's width.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, Write};

use cordwood_core::entry::Entry;
use cordwood_core::level::Level;
use cordwood_core::origin::Origin;
use cordwood_store::search::OwnedRecord;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::value::RawValue;

use super::escape;
use super::style::Style;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeZoneChoice {
    Utc,
    Local,
}

pub struct Table {
    style: Style,
    zone: TimeZone,
    width: Option<usize>,
    /// Columns only grow from page to page, so that the pages of one run line up.
    tenant_width: usize,
    service_width: usize,
}

pub struct Row {
    time: String,
    level: Level,
    tenant: String,
    service: String,
    message: String,
    rest: String,
}

/// A name longer than this pushes its own line out of column rather than all the others.
const NAME_COLUMNS_MAX: usize = 28;
/// A message that fills a terminal many times over is not read in a table.
const CELL_BYTES_MAX: usize = 16 << 10;

impl Table {
    pub fn new(style: Style, zone: TimeZoneChoice, width: Option<usize>) -> Table {
        Table { style, zone: zone.zone(), width, tenant_width: 0, service_width: 0 }
    }

    pub fn row(&self, record: &OwnedRecord, origin: &Origin) -> Row {
        let borrowed = record.as_record();
        let entry = Entry::new(&borrowed, origin);
        let message = match &entry.message {
            Some(message) => escape::one_line(head(message)).into_owned(),
            // A body without a message (or not text): as it is.
            None => escape::body(head_bytes(&record.body)).replace('\n', "\\n").replace('\t', "\\t"),
        };
        Row {
            time: time(&self.zone, record.time_us),
            level: record.level,
            tenant: escape::one_line(entry.tenant_slug).into_owned(),
            service: escape::one_line(&place(&entry, origin)).into_owned(),
            rest: if entry.message.is_some() { rest(&entry) } else { String::new() },
            message,
        }
    }

    pub fn print(&mut self, out: &mut impl Write, rows: Vec<Row>) -> io::Result<()> {
        for row in &rows {
            self.tenant_width = self.tenant_width.max(escape::width(&row.tenant).min(NAME_COLUMNS_MAX));
            self.service_width = self.service_width.max(escape::width(&row.service).min(NAME_COLUMNS_MAX));
        }
        for row in rows {
            let tenant = pad(&row.tenant, self.tenant_width);
            let service = pad(&row.service, self.service_width);
            let level = format!("{:<5}", row.level);
            let used = escape::width(&row.time)
                + 1
                + 5
                + 1
                + escape::width(&tenant)
                + 1
                + escape::width(&service)
                + 2;
            let room = self.width.map(|width| width.saturating_sub(used).max(20));
            let message = room.map_or(row.message.as_str().into(), |room| escape::cut(&row.message, room));
            let left = room.map(|room| room.saturating_sub(escape::width(&message) + 2));
            let rest = left.map_or(row.rest.as_str().into(), |left| {
                if left < 4 { "".into() } else { escape::cut(&row.rest, left) }
            });
            write!(
                out,
                "{} {} {tenant} {}  {message}",
                self.style.dim(&row.time),
                self.style.level(row.level, &level),
                self.style.bold(&service),
            )?;
            if !rest.is_empty() {
                write!(out, "  {}", self.style.dim(&rest))?;
            }
            writeln!(out)?;
        }
        Ok(())
    }
}

impl TimeZoneChoice {
    pub fn zone(self) -> TimeZone {
        match self {
            TimeZoneChoice::Utc => TimeZone::UTC,
            TimeZoneChoice::Local => TimeZone::system(),
        }
    }

    pub fn show(self, time_us: i64) -> String {
        time(&self.zone(), time_us)
    }
}

/// A local time names its offset: an hour that a clock change repeats is two hours.
fn time(zone: &TimeZone, time_us: i64) -> String {
    let Ok(time) = Timestamp::from_microsecond(time_us) else { return format!("{time_us} us") };
    let zoned = time.to_zoned(zone.clone());
    let format = if *zone == TimeZone::UTC { "%Y-%m-%dT%H:%M:%S%.3fZ" } else { "%Y-%m-%d %H:%M:%S%.3f%:z" };
    zoned.strftime(format).to_string()
}

/// The service and, where it says more, the container; else what names the place best.
fn place(entry: &Entry<'_>, origin: &Origin) -> String {
    let service = entry.service.as_deref().unwrap_or_default();
    if !service.is_empty() && !origin.container.is_empty() && origin.container != service {
        return format!("{service}/{}", origin.container);
    }
    let file = match origin.path.rsplit_once('/') {
        Some((folder, name)) if folder.ends_with("/spool") && name.starts_with("stdin-") => "stdin",
        Some((_, name)) => name,
        None => "",
    };
    let names = [service, &origin.container, &origin.plugin, &origin.pod, file];
    names.into_iter().find(|name| !name.is_empty()).unwrap_or("-").to_owned()
}

/// What a table says after the message: identifying fields, then what the application sent besides.
fn rest(entry: &Entry<'_>) -> String {
    let mut out = String::new();
    let fields = [
        ("errorType", &entry.error_type),
        ("errorCode", &entry.error_code),
        ("requestId", &entry.request_id),
        ("traceId", &entry.trace_id),
        ("userId", &entry.user_id),
        ("sessionId", &entry.session_id),
        ("taskId", &entry.task_id),
        ("source", &entry.source),
        ("action", &entry.action),
        ("logger", &entry.logger),
    ];
    for (name, value) in fields {
        if let Some(value) = value {
            push(&mut out, name, value, value.is_empty() || value.contains([' ', '"', '=']));
        }
    }
    for object in [&entry.data, &entry.metadata].into_iter().flatten() {
        // One level is opened; what lies deeper is shown as the JSON that it is.
        match serde_json::from_str::<BTreeMap<String, &RawValue>>(object.get()) {
            Ok(members) => {
                for (name, value) in members {
                    match serde_json::from_str::<String>(value.get()) {
                        Ok(text) if !text.is_empty() && !text.contains([' ', '"', '=']) => {
                            push(&mut out, &name, &text, false);
                        }
                        _ => push(&mut out, &name, value.get(), false),
                    }
                }
            }
            Err(_) => push(&mut out, "data", object.get(), false),
        }
    }
    if let Some(stack) = &entry.error_stack {
        push(&mut out, "errorStack", stack, true);
    }
    out
}

fn push(out: &mut String, name: &str, value: &str, quote: bool) {
    if out.len() > CELL_BYTES_MAX {
        return;
    }
    let gap = if out.is_empty() { "" } else { " " };
    let (name, value) = (escape::one_line(head(name)), escape::one_line(head(value)));
    let _ = if quote {
        write!(out, "{gap}{name}={}", serde_json::Value::from(value.as_ref()))
    } else {
        write!(out, "{gap}{name}={value}")
    };
}

fn pad(text: &str, width: usize) -> String {
    let padding = width.saturating_sub(escape::width(text));
    format!("{text}{}", " ".repeat(padding))
}

/// At most [`CELL_BYTES_MAX`], cut at a character.
fn head(text: &str) -> &str {
    if text.len() <= CELL_BYTES_MAX {
        return text;
    }
    let end = (0..=CELL_BYTES_MAX).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    &text[..end]
}

fn head_bytes(bytes: &[u8]) -> &[u8] {
    &bytes[..bytes.len().min(CELL_BYTES_MAX)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repeated_hour_is_told_apart() {
        let us = |text: &str| text.parse::<Timestamp>().unwrap().as_microsecond();
        let cases = [
            ("Europe/Berlin", "2026-10-25T00:30:00Z", "2026-10-25 02:30:00.000+02:00"),
            ("Europe/Berlin", "2026-10-25T01:30:00Z", "2026-10-25 02:30:00.000+01:00"),
            ("America/New_York", "2026-11-01T05:30:00.25Z", "2026-11-01 01:30:00.250-04:00"),
            ("America/New_York", "2026-11-01T06:30:00.25Z", "2026-11-01 01:30:00.250-05:00"),
            // Half an hour, and zones that change without a summer.
            ("Australia/Lord_Howe", "2026-04-04T14:45:00Z", "2026-04-05 01:45:00.000+11:00"),
            ("Australia/Lord_Howe", "2026-04-04T15:15:00Z", "2026-04-05 01:45:00.000+10:30"),
            ("Asia/Kathmandu", "2026-01-01T00:00:00Z", "2026-01-01 05:45:00.000+05:45"),
        ];
        for (zone, at, expected) in cases {
            let zone = TimeZone::get(zone).expect("the zone's data");
            assert_eq!(time(&zone, us(at)), expected);
        }
        assert_eq!(time(&TimeZone::UTC, us("2026-10-25T00:30:00Z")), "2026-10-25T00:30:00.000Z");
    }
}
