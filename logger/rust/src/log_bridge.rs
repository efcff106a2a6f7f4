//! The bridge for the `log` crate: its records are records; with the feature `kv` its key-values are fields.

use std::sync::Arc;

use crate::context;
use crate::core::{Core, Parts, Scratch, with_scratch};
use crate::json;
use crate::level::Level;
use crate::logger::within_crate;

#[derive(Debug)]
pub struct LogBridge {
    core: Arc<Core>,
}

impl LogBridge {
    pub(crate) fn new(core: &Arc<Core>) -> LogBridge {
        LogBridge { core: Arc::clone(core) }
    }
}

impl log::Log for LogBridge {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        self.core.levels.enabled(metadata.level().into(), &self.core.service, metadata.target())
    }

    fn log(&self, record: &log::Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        with_scratch(|scratch| {
            json::written(&mut scratch.message, *record.args());
            #[cfg(feature = "kv")]
            crate::log_pairs::put(&mut scratch.call, record);
            scratch.origin.put_known("logger", |out| json::text(out, record.target()));
            if self.core.is_located {
                scratch.origin.put("file", record.file().map(within_crate));
                scratch.origin.put("line", record.line());
            }
            context::with_current(|around| {
                let Scratch { line, message, call, origin, .. } = scratch;
                self.core.write(
                    line,
                    &Parts {
                        level: Level::from(record.level()),
                        is_audit: false,
                        message,
                        call,
                        bound: None,
                        around,
                        origin,
                        base: &self.core.base,
                    },
                );
            });
        });
    }

    fn flush(&self) {
        self.core.flush(std::time::Duration::from_millis(crate::delivery::EXIT_MS_MAX));
    }
}
