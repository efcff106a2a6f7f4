//! Which container log it is: of one run of one container, or of one path.

use cordwood_core::pipeline::Format;
use cordwood_core::rotation::Names;

use crate::source::Source;

/// One log, by its number in this process, its key in the checkpoint, and where its lines come from.
pub struct LogId {
    number: u64,
    key: String,
    source: Source,
    live_name: String,
}

impl LogId {
    pub fn new(number: u64, source: Source) -> LogId {
        LogId { number, key: source.key(), live_name: source.live_name(), source }
    }

    pub fn number(&self) -> u64 {
        self.number
    }

    /// `<pod uid>/<container>/<restart count>`, or `file:<path>`.
    pub fn key(&self) -> &str {
        &self.key
    }

    pub fn source(&self) -> &Source {
        &self.source
    }

    /// It was only in the checkpoint, and its path is back: now it is known which setting names it.
    pub fn set_source(&mut self, source: Source) {
        self.source = source;
    }

    /// The name of the file that is written to now.
    pub fn live_name(&self) -> &str {
        &self.live_name
    }

    /// How its files are named.
    pub fn names(&self) -> Names<'_> {
        Names { live: &self.live_name, plain: self.source.is_plain() }
    }

    pub fn format_of(&self, head: &[u8]) -> Format {
        self.source.format(head)
    }
}
