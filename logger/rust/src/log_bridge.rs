//! The bridge for the `log` crate: its records are records; with the feature `kv` its key-values are fields.

use std::sync::Arc;

use crate::context;
use crate::core::{Core, with_scratch};
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
            let around = context::current();
            let sets: Vec<_> = around.as_deref().into_iter().collect();
            self.core.write(scratch, Level::from(record.level()), false, &sets, &self.core.base);
        });
    }

    fn flush(&self) {
        self.core.flush(std::time::Duration::from_millis(crate::delivery::EXIT_MS_MAX));
    }
}
