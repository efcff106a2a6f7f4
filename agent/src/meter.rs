//! Measures of one log: bytes read, growth in bytes per second, and since when reading lags behind.

/// One log's meter. Times are of the monotonic clock.
#[derive(Debug)]
pub struct Meter {
    bytes_read: u64,
    last_data_ms: i64,
    lagging_since_ms: Option<i64>,
    growth_bytes_per_s: f64,
    /// When the log was measured last, and how many bytes it had then, read or unread.
    measured: Option<(i64, u64)>,
}

impl Meter {
    pub fn new(now_ms: i64) -> Meter {
        Meter {
            bytes_read: 0,
            last_data_ms: now_ms,
            lagging_since_ms: None,
            growth_bytes_per_s: 0.0,
            measured: None,
        }
    }

    pub fn bytes_read(&self) -> u64 {
        self.bytes_read
    }

    pub fn read(&mut self, bytes: usize) {
        self.bytes_read += bytes as u64;
    }

    /// When bytes came last, or may have come.
    pub fn last_data_ms(&self) -> i64 {
        self.last_data_ms
    }

    pub fn data_came(&mut self, now_ms: i64) {
        self.last_data_ms = now_ms;
    }

    pub fn lagging_since_ms(&self) -> Option<i64> {
        self.lagging_since_ms
    }

    pub fn growth_bytes_per_s(&self) -> f64 {
        self.growth_bytes_per_s
    }

    /// `lag_bytes`: bytes on the disk that are not read.
    pub fn measure(&mut self, lag_bytes: u64, now_ms: i64) {
        self.lagging_since_ms = (lag_bytes > 0).then(|| self.lagging_since_ms.unwrap_or(now_ms));
        let total = self.bytes_read + lag_bytes;
        // Bytes that were there at the first look are no growth.
        if let Some((at_ms, bytes)) = self.measured.replace((now_ms, total)) {
            let elapsed_s = (now_ms - at_ms).max(1) as f64 / 1_000.0;
            let rate = total.saturating_sub(bytes) as f64 / elapsed_s;
            self.growth_bytes_per_s = 0.8 * self.growth_bytes_per_s + 0.2 * rate;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_there_at_the_first_look_is_no_growth() {
        let mut meter = Meter::new(0);
        meter.measure(1_000_000, 1_000);
        assert_eq!((meter.growth_bytes_per_s(), meter.lagging_since_ms()), (0.0, Some(1_000)));
        meter.read(600_000);
        meter.measure(400_000, 2_000);
        assert_eq!((meter.growth_bytes_per_s(), meter.lagging_since_ms()), (0.0, Some(1_000)));
        meter.read(400_000);
        meter.measure(0, 3_000);
        assert_eq!((meter.growth_bytes_per_s(), meter.lagging_since_ms()), (0.0, None));
        meter.measure(500, 4_000);
        assert_eq!((meter.growth_bytes_per_s(), meter.lagging_since_ms()), (100.0, Some(4_000)));
    }
}
