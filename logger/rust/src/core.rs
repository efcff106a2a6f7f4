//! One logger of a process: its settings, levels and output, and how a line is put together.

use std::cell::RefCell;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use crate::console;
use crate::delivery::{self, Delivery, EXIT_MS_MAX};
use crate::fields::{Fields, write_all};
use crate::json;
use crate::level::Level;
use crate::levels::Levels;
use crate::output::Output;
use crate::room::{Dropped, Rank};
use crate::settings::{self, Buffer, Environment, Format};
use crate::time;

/// A line that is longer loses the fields of its call, its logger and its context.
const LINE_BYTES_MAX: usize = 1 << 20;

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
    line: Vec<u8>,
    /// The message as JSON.
    pub message: Vec<u8>,
    /// The call's own fields.
    pub call: Fields,
    /// Where the call stands: logger, file, line.
    pub origin: Fields,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// Lends the thread's scratch, emptied. Who logs while a value is being formatted gets another one.
pub(crate) fn with_scratch<R>(work: impl FnOnce(&mut Scratch) -> R) -> R {
    SCRATCH.with(|scratch| match scratch.try_borrow_mut() {
        Ok(mut scratch) => {
            scratch.message.clear();
            scratch.call.clear();
            scratch.origin.clear();
            work(&mut scratch)
        }
        Err(_) => work(&mut Scratch::default()),
    })
}

/// The thread's fields of a call, emptied, for a record in the making; the next line gives them back.
pub(crate) fn lend_fields() -> Fields {
    let lent =
        SCRATCH.with(|scratch| scratch.try_borrow_mut().map(|mut scratch| std::mem::take(&mut scratch.call)));
    let mut fields = lent.unwrap_or_default();
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
                assemble(&mut line, delivery::DROPPED_LEVEL, false, &message, &[dropped, &base]);
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

    /// Writes what is in the scratch, and these fields: an earlier set wins over a later one. `base` stands behind them.
    pub fn write(
        &self,
        scratch: &mut Scratch,
        level: Level,
        is_audit: bool,
        sets: &[&Fields],
        base: &Fields,
    ) {
        let Scratch { line, message, call, origin } = scratch;
        let all: [&Fields; 6] = match sets {
            [] => [call, origin, base, &EMPTY, &EMPTY, &EMPTY],
            [one] => [call, one, origin, base, &EMPTY, &EMPTY],
            [one, two, ..] => [call, one, two, origin, base, &EMPTY],
        };
        if message.is_empty() {
            message.extend_from_slice(b"\"\"");
        }
        line.clear();
        assemble(line, level, is_audit, message, &all);
        if line.len() > LINE_BYTES_MAX {
            line.clear();
            assemble(line, level, is_audit, message, &[&Fields::new().with("fieldsCut", true), origin, base]);
        }
        let rank = if is_audit { Rank::AUDIT } else { Rank::of(level) };
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

static EMPTY: std::sync::LazyLock<Fields> = std::sync::LazyLock::new(Fields::new);

fn formatted(format: Format, line: Vec<u8>) -> Vec<u8> {
    match format {
        Format::Json => line,
        Format::Console { is_coloured } => console::render(&line, is_coloured),
    }
}

fn assemble(line: &mut Vec<u8>, level: Level, is_audit: bool, message: &[u8], sets: &[&Fields]) {
    line.extend_from_slice(b"{\"timestamp\":\"");
    time::write(line, time::now(), time::Digits::Micro);
    line.extend_from_slice(b"\",\"level\":\"");
    line.extend_from_slice(level.as_str().as_bytes());
    line.extend_from_slice(b"\",\"message\":");
    line.extend_from_slice(message);
    if is_audit {
        line.extend_from_slice(b",\"is_audit\":true");
    }
    write_all(line, sets);
    line.extend_from_slice(b"}\n");
}
