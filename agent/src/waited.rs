//! Measures how long an unfinished record has not grown.

/// An unfinished record as it was at the last look.
#[derive(Clone, Copy, Debug, Default)]
pub struct Waited {
    pending: Option<(u64, u64)>,
    since_ms: i64,
}

impl Waited {
    /// `pending`: the record as it is now.
    pub fn waited_ms(&mut self, pending: Option<(u64, u64)>, now_ms: i64) -> i64 {
        if self.pending != pending {
            *self = Waited { pending, since_ms: now_ms };
        }
        now_ms - self.since_ms
    }
}
