//! What a record costs the application: this logger by tracing and as a value, tracing-subscriber's JSON, slog-json; the same fields, the same
//! discarding output, in turns. Prints a table; judges nothing. `cargo run --release -p xtask --example bench_logger [EVENTS]`
//!
//! On a busy machine the least of the rounds says more than the median, and instructions more than either (`valgrind --tool=callgrind`, the
//! difference between a run of 22,000 and one of 2,000 events). An event by tracing took 7,420 of them and a record of a `Logger` 6,740, where
//! slog-json takes 4,580; since then 3,500 and 3,220. What had cost most: the search of a field's name among the known ones (1,420), the
//! file's path (1,800 with its search for cargo's folder; now made once for each place and thread), a float by `fmt` (700; serde_json's way takes 140), texts looked at byte
//! by byte. Fields that a span learns later are one atomic load for an event: without them (before they were linked) it took as many instructions.

use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;
use std::io::{self, Write};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use cordwood_logger::{Builder, Cordwood, Fields, Level};
use rustix::time::{ClockId, clock_gettime};
use slog::{Drain, FnValue, o};
use tracing::{Dispatch, info, info_span};

/// Counts what is allocated, on whatever thread.
struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[allow(unsafe_code, reason = "an allocator that counts is the one way to know")]
// SAFETY: everything is passed on to the system's allocator as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promises are the system's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the pointer came from the system's allocator.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the pointer came from the system's allocator.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

/// Takes everything and keeps the number of bytes.
#[derive(Clone, Copy)]
struct Discard;

static BYTES: AtomicU64 = AtomicU64::new(0);

impl Write for Discard {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        BYTES.fetch_add(black_box(bytes).len() as u64, Ordering::Relaxed);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[derive(Clone, Copy, Default)]
struct Figures {
    /// Of the thread that logs, and of the whole process.
    wall_ns: f64,
    cpu_ns: f64,
    allocations: f64,
    bytes: f64,
}

fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32)
}

fn measure(events: u64, work: impl FnOnce()) -> Figures {
    let (bytes, allocations) = (BYTES.load(Ordering::Relaxed), ALLOCATIONS.load(Ordering::Relaxed));
    let (begin, begin_cpu) = (Instant::now(), cpu());
    work();
    let (wall, used) = (begin.elapsed(), cpu() - begin_cpu);
    let each = |total: f64| total / events as f64;
    Figures {
        wall_ns: each(wall.as_nanos() as f64),
        cpu_ns: each(used.as_nanos() as f64),
        allocations: each((ALLOCATIONS.load(Ordering::Relaxed) - allocations) as f64),
        bytes: each((BYTES.load(Ordering::Relaxed) - bytes) as f64),
    }
}

const TRACE_ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

/// The application, by tracing.
fn traced(events: u64) {
    let span = info_span!("request", requestId = "r-7d0b31aa", traceId = TRACE_ID, taskId = "42");
    let _entered = span.enter();
    for n in 0..events {
        info!(order_id = n, amount = 12.5, currency = "EUR", "order {n} of {} paid", "ada");
    }
}

fn cordwood() -> Cordwood {
    let environment = |name: &str| (name == "CORDWOOD_LEVEL").then(|| "info".to_owned());
    Builder::new().service("shop").environment(environment).writer(Discard).start().expect("a logger")
}

fn by_tracing(events: u64) -> Figures {
    let cordwood = cordwood();
    let dispatch = Dispatch::new(cordwood.subscriber());
    tracing::dispatcher::with_default(&dispatch, || {
        measure(events, || {
            traced(events);
            assert!(cordwood.flush(Duration::from_secs(60)));
        })
    })
}

fn by_value(events: u64) -> Figures {
    let cordwood = cordwood();
    let fields = Fields::new().with("requestId", "r-7d0b31aa").with("traceId", TRACE_ID).with("taskId", "42");
    let logger = cordwood.logger().with(&fields);
    measure(events, || {
        for n in 0..events {
            let record =
                logger.at(Level::Info).field("order_id", n).field("amount", 12.5).field("currency", "EUR");
            record.send(format_args!("order {n} of {} paid", "ada"));
        }
        assert!(cordwood.flush(Duration::from_secs(60)));
    })
}

fn by_tracing_subscriber(events: u64) -> Figures {
    let subscriber = tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_current_span(true)
        .with_span_list(false)
        .with_file(true)
        .with_line_number(true)
        .with_writer(|| Discard)
        .finish();
    tracing::subscriber::with_default(subscriber, || measure(events, || traced(events)))
}

fn by_slog(events: u64) -> Figures {
    let drain = Mutex::new(slog_json::Json::default(Discard)).fuse();
    let root = slog::Logger::root(
        drain,
        o!("service" => "shop", "file" => FnValue(|record| record.file()), "line" => FnValue(|record| record.line()),
            "logger" => FnValue(|record| record.module())),
    );
    let logger = root.new(o!("requestId" => "r-7d0b31aa", "traceId" => TRACE_ID, "taskId" => "42"));
    measure(events, || {
        for n in 0..events {
            slog::info!(logger, "order {n} of {} paid", "ada"; "order_id" => n, "amount" => 12.5, "currency" => "EUR");
        }
    })
}

/// An event that the levels do not let through.
fn disabled(events: u64) -> Figures {
    let cordwood = cordwood();
    let dispatch = Dispatch::new(cordwood.subscriber());
    tracing::dispatcher::with_default(&dispatch, || {
        measure(events, || (0..events).for_each(|n| tracing::debug!(order_id = n, "not written")))
    })
}

type Way = (&'static str, fn(u64) -> Figures);

const WAYS: [Way; 5] = [
    ("cordwood-logger, tracing", by_tracing),
    ("cordwood-logger, Logger", by_value),
    ("tracing-subscriber JSON", by_tracing_subscriber),
    ("slog-json", by_slog),
    ("cordwood-logger, a level below", disabled),
];
/// The row that the others' least rounds are compared with.
const SLOG: usize = 3;
const ROUNDS: usize = 7;

fn main() {
    let events = std::env::args().nth(1).and_then(|events| events.parse().ok()).unwrap_or(300_000);
    let mut rounds: Vec<Vec<Figures>> = vec![Vec::new(); WAYS.len()];
    for _ in 0..ROUNDS {
        for (figures, (_, way)) in rounds.iter_mut().zip(WAYS) {
            figures.push(way(events));
        }
    }
    let mut out = io::stdout().lock();
    let mut say = |line: String| writeln!(out, "{line}").expect("stdout");
    say(format!("{ROUNDS} rounds of {events} events, the median\n"));
    say(format!(
        "{:<32}{:>10}{:>10}{:>10}{:>10}{:>14}{:>12}",
        "ns per event", "thread", "least", "of slog", "all CPU", "allocations", "bytes"
    ));
    let least = |figures: &[Figures]| figures.iter().map(|one| one.wall_ns).fold(f64::INFINITY, f64::min);
    let least_slog = least(&rounds[SLOG]);
    for (figures, (name, _)) in rounds.iter_mut().zip(WAYS) {
        figures.sort_by(|a, b| a.wall_ns.total_cmp(&b.wall_ns));
        let median = figures[ROUNDS / 2];
        say(format!(
            "{name:<32}{:>10.1}{:>10.1}{:>10.2}{:>10.1}{:>14.3}{:>12.1}",
            median.wall_ns,
            least(figures),
            least(figures) / least_slog,
            median.cpu_ns,
            median.allocations,
            median.bytes
        ));
    }
}
