//! Makes loggers, and installs the one that a process has.

use std::io::{self, Write};
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{Layer, Registry};

use crate::core::{Core, Wanted};
use crate::delivery::ROOM_BYTES_MAX;
use crate::layer::{CordwoodLayer, Gate};
use crate::level_http::serve_levels;
use crate::levels::Levels;
use crate::line_queue::Dropped;
use crate::log_bridge::LogBridge;
use crate::logger::Logger;
use crate::output::Output;
use crate::panics::log_panics;
use crate::request::Headers;
use crate::settings::{self, Buffer, Environment, Format};

/// A logger in the making, where [`init`] does not fit.
#[derive(Debug)]
pub struct Builder {
    service: Option<String>,
    environment: Environment,
    output: Output,
    wanted: Wanted,
}

/// A logger of a process or a test: what loggers, layers and bridges are made of.
#[derive(Clone, Debug)]
pub struct Cordwood {
    core: Arc<Core>,
}

/// The process has a logger, a tracing subscriber or a `log` logger already.
#[derive(Debug)]
pub struct AlreadySet(&'static str);

impl std::fmt::Display for AlreadySet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the process has {} already", self.0)
    }
}

impl std::error::Error for AlreadySet {}

impl Default for Builder {
    fn default() -> Builder {
        Builder {
            service: None,
            environment: Environment::of_process(),
            output: Output::Stdout,
            wanted: Wanted { format: None, buffer: None, room_bytes: ROOM_BYTES_MAX },
        }
    }
}

impl Builder {
    pub fn new() -> Builder {
        Builder::default()
    }

    /// The name of the service; without it `CORDWOOD_SERVICE`, or the program's name.
    #[must_use]
    pub fn service(mut self, service: impl Into<String>) -> Builder {
        self.service = Some(service.into());
        self
    }

    /// Where settings are read in place of the process's environment.
    #[must_use]
    pub fn environment(mut self, read: impl Fn(&str) -> Option<String> + Send + Sync + 'static) -> Builder {
        self.environment = Environment::of(read);
        self
    }

    /// Lines go to stderr in place of stdout.
    #[must_use]
    pub fn stderr(mut self) -> Builder {
        self.output = Output::Stderr;
        self
    }

    /// Where lines go in place of stdout.
    #[must_use]
    pub fn writer(mut self, writer: impl Write + Send + 'static) -> Builder {
        self.output = Output::Writer(Box::new(writer));
        self
    }

    /// How lines are written, whatever the environment and the output say.
    #[must_use]
    pub fn format(mut self, format: Format) -> Builder {
        self.wanted.format = Some(format);
        self
    }

    /// How many lines are gathered and how long one waits at most, where `CORDWOOD_BUFFER_RECORDS` and `CORDWOOD_BUFFER_MS` say
    /// nothing; of itself 50 lines and 5 s, on a console each line leaves at once. With one line, or no time, it does so everywhere.
    #[must_use]
    pub fn buffer(mut self, lines: usize, wait: Duration) -> Builder {
        self.wanted.buffer = Some(Buffer { lines: lines.max(1), wait });
        self
    }

    /// Room for lines while the output stalls, in bytes; 8 MiB of itself.
    #[must_use]
    pub fn room_bytes(mut self, bytes: usize) -> Builder {
        self.wanted.room_bytes = bytes;
        self
    }

    /// Starts it, beside whatever else the process has.
    ///
    /// # Errors
    /// When its thread cannot be started.
    pub fn start(self) -> io::Result<Cordwood> {
        let service = self.service.or_else(|| self.environment.get("CORDWOOD_SERVICE"));
        let service = service.unwrap_or_else(settings::program);
        Ok(Cordwood { core: Core::start(&service, &self.environment, self.output, self.wanted)? })
    }
}

impl Cordwood {
    /// A logger of the service.
    pub fn logger(&self) -> Logger {
        Logger::new(&self.core, &self.core.service)
    }

    /// A logger of another service of this process.
    pub fn logger_of(&self, service: &str) -> Logger {
        Logger::new(&self.core, service)
    }

    /// A layer for a subscriber that has others beside it; the levels are its own filter.
    pub fn layer<S>(&self) -> impl Layer<S> + Send + Sync + 'static
    where
        S: tracing::Subscriber + for<'a> LookupSpan<'a>,
    {
        CordwoodLayer::new(&self.core).with_filter(Gate::new(&self.core))
    }

    /// A subscriber of this layer alone; the cheapest way.
    pub fn subscriber(&self) -> impl tracing::Subscriber + Send + Sync + 'static {
        Registry::default().with(CordwoodLayer::new(&self.core)).with(Gate::new(&self.core))
    }

    /// What `log::set_boxed_logger` takes; call `log::set_max_level(LevelFilter::Trace)` too, so that levels can change.
    pub fn log_bridge(&self) -> LogBridge {
        LogBridge::new(&self.core)
    }

    /// The levels, to be changed while the program runs.
    pub fn levels(&self) -> &Arc<Levels> {
        &self.core.levels
    }

    /// Mounts `GET` and `PUT /cordwood/level` at an address.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub fn serve_levels(&self, address: impl ToSocketAddrs) -> io::Result<SocketAddr> {
        serve_levels(&self.core.levels, address)
    }

    /// Writes what waits; whether all of it was written within the time.
    pub fn flush(&self, bound: Duration) -> bool {
        self.core.flush(bound)
    }

    /// Records that could not be written because the output is closed, or is full (or stalls) and has not told of them yet.
    pub fn refused(&self) -> Dropped {
        self.core.refused()
    }

    /// Makes it the process's own: tracing, `log`, panics and the process's end are its.
    ///
    /// # Errors
    /// When the process has such a thing already; what it has not is set all the same.
    pub fn install(&self) -> Result<(), AlreadySet> {
        self.install_once().unwrap_or(Err(AlreadySet("a Cordwood logger")))
    }

    /// `None`: the process has a Cordwood logger that is installed.
    fn install_once(&self) -> Option<Result<(), AlreadySet>> {
        let of_process = process(|| self.clone());
        if !Arc::ptr_eq(&of_process.core, &self.core) || IS_INSTALLED.swap(true, Ordering::Relaxed) {
            return None;
        }
        let is_traced = tracing::subscriber::set_global_default(self.subscriber()).is_ok();
        let is_bridged = log::set_boxed_logger(Box::new(self.log_bridge())).is_ok();
        if is_bridged {
            log::set_max_level(log::LevelFilter::Trace);
        }
        Some(match (is_traced, is_bridged) {
            (true, true) => Ok(()),
            (false, _) => Err(AlreadySet("a tracing subscriber")),
            (true, false) => Err(AlreadySet("a logger of `log`")),
        })
    }
}

static PROCESS: OnceLock<Cordwood> = OnceLock::new();
/// The process's logger has tracing and `log`.
static IS_INSTALLED: AtomicBool = AtomicBool::new(false);

/// Starts the process's logger: `tracing`, `log`, panics and the end of the process are its from now on. A second call gives the first one.
///
/// Where a logger was asked for before ([`logger`], [`create_logger`]), that one is the process's, with the name it has found in the environment.
/// What cannot be set because another library has set it is told on stderr.
pub fn init(service: &str) -> Cordwood {
    let cordwood = process(|| start(Builder::new().service(service)));
    if let Some(installed) = cordwood.install_once() {
        if let Err(error) = installed {
            settings::say(&error.to_string());
        }
        let known = &cordwood.core.service;
        if **known != *service {
            settings::say(&format!(
                "the service is {known:?}, not {service:?}: a logger was asked for before"
            ));
        }
    }
    cordwood.clone()
}

fn start(builder: Builder) -> Cordwood {
    builder.start().unwrap_or_else(|error| panic!("start the logger's thread: {error}"))
}

/// The process's logger; without tracing and `log` as long as nobody has called [`init`].
fn process(make: impl FnOnce() -> Cordwood) -> &'static Cordwood {
    PROCESS.get_or_init(|| {
        let made = make();
        log_panics(&made.core);
        at_exit();
        made
    })
}

/// A logger of a service.
pub fn create_logger(service: &str) -> Logger {
    process(|| start(Builder::new())).logger_of(service)
}

/// A logger of the process's service.
pub fn logger() -> Logger {
    static LOGGER: OnceLock<Logger> = OnceLock::new();
    LOGGER.get_or_init(|| process(|| start(Builder::new())).logger()).clone()
}

/// A logger for one request, by its headers: tenant, user, session, impersonator, request, trace.
pub fn create_request_logger(headers: &(impl Headers + ?Sized)) -> Logger {
    logger().for_request(headers)
}

/// Writes what waits, within two seconds at most; for who ends the process without an exit.
pub fn flush() {
    if let Some(known) = PROCESS.get() {
        known.core.end();
    }
}

#[cfg(unix)]
#[allow(unsafe_code, reason = "atexit is the one way to be told of an exit, and std has none")]
fn at_exit() {
    unsafe extern "C" {
        fn atexit(handler: extern "C" fn()) -> std::ffi::c_int;
    }
    extern "C" fn end() {
        flush();
    }
    // SAFETY: the handler is a function without arguments that never unwinds, as atexit wants it.
    unsafe {
        atexit(end);
    }
}

#[cfg(not(unix))]
fn at_exit() {}
