//! Puts lines together: one logger of a process, with its settings, levels and output.

use std::cell::Cell;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use crate::call_sites::CallSites;
use crate::console;
use crate::delivery::{self, Delivery, EXIT_MS_MAX};
use crate::fields::{Fields, write_all};
use crate::json;
use crate::level::Level;
use crate::levels::Levels;
use crate::line_queue::{Dropped, Rank};
use crate::output::Output;
use crate::settings::{self, Buffer, Environment, Format};
use crate::time;

/// A line that is longer loses the fields of its call, its logger and its context.
const LINE_BYTES_MAX: usize = 1 << 20;
/// A thread keeps no more than this of each of its buffers from one line to the next.
const SCRATCH_BYTES_MAX: usize = 64 << 10;

/// What the application says of a logger in the making; what it leaves open the environment or the output decides.
#[derive(Debug)]
pub(crate) struct Wanted {
    pub format: Option<Format>,
    pub buffer: Option<Buffer>,
    pub room_bytes: usize,
}

#[derive(Debug)]
pub(crate) struct Core {
    pub service: Arc<str>,
    pub levels: Arc<Levels>,
    /// Environment, version, region.
    pub process: Fields,
    /// `process` and the service: what lines of tracing and log begin with.
    pub base: Fields,
    pub is_located: bool,
    format: Format,
    delivery: Delivery,
}

/// What a call fills while a line is put together; kept by its thread.
#[derive(Default)]
pub(crate) struct Scratch {
    pub line: Vec<u8>,
    /// The message as JSON.
    pub message: Vec<u8>,
    /// The call's own fields.
    pub call: Fields,
    /// Where the call stands, when that is no place of the sources that it could be remembered by.
    pub origin: Fields,
    pub call_sites: CallSites,
}

/// What a line is made of; of two fields with one name the earlier counts.
#[derive(Clone, Copy)]
pub(crate) struct Parts<'a> {
    pub level: Level,
    pub is_audit: bool,
    /// As JSON.
    pub message: &'a [u8],
    pub call: &'a Fields,
    /// Bound to the logger, and around the call.
    pub bound: Option<&'a Fields>,
    pub around: Option<&'a Fields>,
    /// Where the call stands: logger, file, line.
    pub origin: &'a Fields,
    /// What all lines have.
    pub base: &'a Fields,
}

thread_local! {
    static SCRATCH: Cell<Option<Box<Scratch>>> = const { Cell::new(None) };
}

impl Scratch {
    fn is_small(&self) -> bool {
        let all =
            [self.line.capacity(), self.message.capacity(), self.call.capacity(), self.origin.capacity()];
        all.into_iter().all(|bytes| bytes <= SCRATCH_BYTES_MAX)
    }
}

/// Lends the thread's scratch, emptied. Who logs while a value is being formatted, or while the thread ends, gets another one.
pub(crate) fn with_scratch(work: impl FnOnce(&mut Scratch)) {
    let mut scratch = SCRATCH.try_with(Cell::take).ok().flatten().unwrap_or_default();
    scratch.message.clear();
    scratch.call.clear();
    scratch.origin.clear();
    work(&mut scratch);
    if scratch.is_small() {
        let _ = SCRATCH.try_with(|kept| kept.set(Some(scratch)));
    }
}

/// The thread's fields of a call, emptied, for a record in the making; the next line gives them back.
pub(crate) fn lend_fields() -> Fields {
    let lent = SCRATCH.try_with(|kept| {
        let mut scratch = kept.take()?;
        let fields = std::mem::take(&mut scratch.call);
        kept.set(Some(scratch));
        Some(fields)
    });
    let mut fields = lent.ok().flatten().unwrap_or_default();
    fields.clear();
    fields
}

impl Core {
    pub fn start(
        service: &str,
        environment: &Environment,
        output: Output,
        wanted: Wanted,
    ) -> std::io::Result<Arc<Core>> {
        let levels = Arc::new(Levels::of(environment, service));
        let mut process = Fields::new();
        process.put("environment", environment.get("CORDWOOD_ENV"));
        process.put("version", environment.get("CORDWOOD_VERSION"));
        process.put("region", environment.get("CORDWOOD_REGION"));
        let base = Fields::new().with("service", service).over(&process);
        let format = wanted.format.unwrap_or_else(|| environment.format(output.is_terminal()));
        // (Who sits before a console wants to see each line when it comes.)
        let usual = if format == Format::Json { Buffer::default() } else { Buffer::NONE };
        let buffer = environment.buffer(wanted.buffer.unwrap_or(usual));
        let told = {
            let base = Fields::new().with("logger", delivery::DROPPED_LOGGER).over(&base);
            Box::new(move |dropped: &Fields, count: u64| {
                let (mut line, mut message) = (Vec::new(), Vec::new());
                json::text(&mut message, &delivery::dropped_message(count));
                assemble(
                    &mut line,
                    &Parts {
                        level: delivery::DROPPED_LEVEL,
                        is_audit: false,
                        message: &message,
                        call: dropped,
                        bound: None,
                        around: None,
                        origin: &EMPTY,
                        base: &base,
                    },
                );
                formatted(format, line)
            })
        };
        let expiring = Arc::clone(&levels);
        let chore = Box::new(move |now: Instant| expiring.expire(now));
        let delivery = Delivery::start(output, buffer, wanted.room_bytes, told, chore)?;
        let core = Arc::new(Core {
            service: service.into(),
            levels,
            process,
            base,
            is_located: environment.switch("CORDWOOD_LOCATION").unwrap_or(true),
            format,
            delivery,
        });
        let weak: Weak<Core> = Arc::downgrade(&core);
        core.levels.when_changed(move || {
            if let Some(core) = weak.upgrade() {
                core.delivery.poke();
            }
        });
        Ok(core)
    }

    /// Writes a line; `line` is where it is put together.
    pub fn write(&self, line: &mut Vec<u8>, parts: &Parts<'_>) {
        line.clear();
        assemble(line, parts);
        if line.len() > LINE_BYTES_MAX {
            line.clear();
            let call = &Fields::new().with("fieldsCut", true);
            assemble(line, &Parts { call, bound: None, around: None, ..*parts });
        }
        let rank = if parts.is_audit { Rank::AUDIT } else { Rank::of(parts.level) };
        match self.format {
            Format::Json => self.delivery.give(rank, line),
            console => self.delivery.give(rank, &formatted(console, std::mem::take(line))),
        }
    }

    /// Writes what waits; whether all of it was written within the time.
    pub fn flush(&self, bound: Duration) -> bool {
        self.delivery.flush(bound)
    }

    pub fn refused(&self) -> Dropped {
        self.delivery.refused()
    }

    /// At the process's end: what cannot be written within a bound is told on stderr.
    pub fn end(&self) {
        if !self.flush(Duration::from_millis(EXIT_MS_MAX)) {
            settings::say(&format!(
                "{} records were not written: the output stalled",
                self.delivery.waiting()
            ));
        }
        let refused = self.refused();
        if refused.total() > 0 {
            let rows: Vec<_> = refused.rows().map(|(level, count)| format!("{level} {count}")).collect();
            settings::say(&format!("records that were not written: {}", rows.join(", ")));
        }
    }
}

static EMPTY: Fields = Fields::new();

fn formatted(format: Format, line: Vec<u8>) -> Vec<u8> {
    match format {
        Format::Json => line,
        Format::Console { is_coloured } => console::render(&line, is_coloured),
    }
}

/// Between the time and the message, by level.
const LEVELS: [&[u8]; Level::ALL.len()] = [
    b"\",\"level\":\"TRACE\",\"message\":",
    b"\",\"level\":\"DEBUG\",\"message\":",
    b"\",\"level\":\"INFO\",\"message\":",
    b"\",\"level\":\"WARN\",\"message\":",
    b"\",\"level\":\"ERROR\",\"message\":",
];

fn assemble(line: &mut Vec<u8>, parts: &Parts<'_>) {
    line.extend_from_slice(b"{\"timestamp\":\"");
    time::write(line, time::now(), time::Digits::Micro);
    line.extend_from_slice(LEVELS[parts.level as usize]);
    line.extend_from_slice(if parts.message.is_empty() { b"\"\"" } else { parts.message });
    if parts.is_audit {
        line.extend_from_slice(b",\"is_audit\":true");
    }
    let Parts { call, bound, around, origin, base, .. } = *parts;
    write_all(line, &[call, bound.unwrap_or(&EMPTY), around.unwrap_or(&EMPTY), origin, base]);
    line.extend_from_slice(b"}\n");
}
