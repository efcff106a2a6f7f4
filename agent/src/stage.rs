//! The stage of one file: it has its name, it has a successor, it was deleted, or it was read to its end.

/// The stages of a file's life. Times are of the monotonic clock.
#[derive(Debug, Default)]
pub struct Stage {
    removed: bool,
    superseded_at_ms: Option<i64>,
    finished_at_ms: Option<i64>,
    over_at: Option<u64>,
    read_errors: u32,
}

impl Stage {
    /// Nothing more is to be read of the file.
    pub fn finished(now_ms: i64) -> Stage {
        Stage { finished_at_ms: Some(now_ms), ..Stage::default() }
    }

    /// The file has no name any more and exists only because the agent holds it open.
    pub fn is_removed(&self) -> bool {
        self.removed
    }

    pub fn set_removed(&mut self, removed: bool) {
        self.removed = removed;
    }

    /// When the agent saw its successor.
    pub fn superseded_at_ms(&self) -> Option<i64> {
        self.superseded_at_ms
    }

    pub fn supersede(&mut self, at_ms: i64) {
        self.superseded_at_ms.get_or_insert(at_ms);
    }

    /// The file was read to its end, and nothing more is expected.
    pub fn is_finished(&self) -> bool {
        self.finished_at_ms.is_some()
    }

    pub fn finished_at_ms(&self) -> Option<i64> {
        self.finished_at_ms
    }

    pub fn finish(&mut self, now_ms: i64) {
        self.finished_at_ms = Some(now_ms);
    }

    /// There is more to read after all.
    pub fn read_on(&mut self) {
        self.finished_at_ms = None;
    }

    /// Position of its end when the process that wrote it had ended. The file is still watched.
    pub fn over_at(&self) -> Option<u64> {
        self.over_at
    }

    pub fn end_with_its_writer(&mut self, position: u64) {
        self.over_at = Some(position);
    }

    /// Notes that the file could not be read. Returns how many times in a row before.
    pub fn failed(&mut self) -> u32 {
        self.read_errors += 1;
        self.read_errors - 1
    }

    pub fn was_read(&mut self) {
        self.read_errors = 0;
    }
}
