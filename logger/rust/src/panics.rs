//! Logs a panic as an ERROR with its place and stack, and writes everything that waits before the process may end.

use std::any::Any;
use std::backtrace::{Backtrace, BacktraceStatus};
use std::panic::PanicHookInfo;
use std::sync::Arc;
use std::time::Duration;

use crate::context;
use crate::core::{Core, Parts, Scratch, with_scratch};
use crate::delivery::EXIT_MS_MAX;
use crate::json;
use crate::level::Level;
use crate::logger::within_crate;

/// Takes the place of the hook before, which is called only when the record could not be written: stderr would tell the same
/// again as a second error.
pub(crate) fn log_panics(core: &Arc<Core>) {
    let core = Arc::clone(core);
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        write(&core, panic);
        if !core.flush(Duration::from_millis(EXIT_MS_MAX)) || core.refused().total() > 0 {
            before(panic);
        }
    }));
}

fn write(core: &Core, panic: &PanicHookInfo<'_>) {
    let message = message(panic.payload());
    let thread = std::thread::current();
    let name = thread.name().unwrap_or("<unnamed>");
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    let mut stack = format!("thread '{name}' panicked at {place}:\n{message}");
    let backtrace = Backtrace::capture();
    if backtrace.status() == BacktraceStatus::Captured {
        stack.push('\n');
        stack.push_str(backtrace.to_string().trim_end());
    }
    with_scratch(|scratch| {
        json::text(&mut scratch.message, message);
        scratch.call.put("error", message);
        scratch.call.put("errorType", "panic");
        scratch.call.put("errorStack", stack);
        scratch.call.put("thread", name);
        scratch.origin.put("logger", &*core.service);
        if let Some(location) = panic.location() {
            scratch.origin.put("file", within_crate(location.file()));
            scratch.origin.put("line", location.line());
        }
        context::with_current(|around| {
            let Scratch { line, message, call, origin, .. } = scratch;
            core.write(
                line,
                &Parts {
                    level: Level::Error,
                    is_audit: false,
                    message,
                    call,
                    bound: None,
                    around,
                    origin,
                    base: &core.base,
                },
            );
        });
    });
}

fn message(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("a panic without a message")
}
