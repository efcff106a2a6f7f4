//! PostgreSQL's clock: read once, then advanced by this machine's monotonic clock. Record times are checked against it.
//!
//! Retention uses the same clock. With a wrong local clock, records would be moved to a time at which they expire early, or be
//! treated as expired.

use std::time::{Duration, Instant};

use cordwood_store::{Store, StoreError, catalogue};

/// The two clocks of this machine part by so much when it was suspended, or when its time was set.
const JUMP: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, Debug)]
pub struct Clock {
    read_us: i64,
    at: Instant,
    own_us: i64,
}

impl Clock {
    /// This machine's, until PostgreSQL's is known.
    pub fn own() -> Clock {
        Clock::that_reads(own_us())
    }

    fn that_reads(read_us: i64) -> Clock {
        Clock { read_us, at: Instant::now(), own_us: own_us() }
    }

    pub async fn read(store: &Store) -> Result<Clock, StoreError> {
        Ok(Clock::that_reads(catalogue::clock(&*store.pooled().await?).await?))
    }

    /// It cannot be counted on any more: read it again.
    pub fn has_jumped(&self) -> bool {
        let passed_us = own_us().saturating_sub(self.own_us);
        passed_us.abs_diff(micros(self.at.elapsed())) > micros(JUMP).unsigned_abs()
    }

    /// Microseconds since the Unix epoch.
    pub fn now_us(&self) -> i64 {
        self.read_us.saturating_add(micros(self.at.elapsed()))
    }
}

fn own_us() -> i64 {
    jiff::Timestamp::now().as_microsecond()
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_goes_on_from_what_was_read_and_tells_a_jump() {
        let year_us = 365 * 86_400_000_000;
        let read = Clock::that_reads(own_us() - year_us);
        assert!(!read.has_jumped(), "another clock than ours is no jump");
        assert!((own_us() - year_us - read.now_us()).abs() < 60_000_000);
        assert!(
            Clock { own_us: read.own_us - 3_600_000_000, ..read }.has_jumped(),
            "suspended, or set ahead"
        );
        assert!(Clock { own_us: read.own_us + 3_600_000_000, ..read }.has_jumped(), "set back");
    }
}
