//! Decides how long a record waits for older ones. While records come in the order of their times, it does not wait. Otherwise it waits as long as
//! late records took, up to a bound.

/// A record is shown when it is so old, at the latest. One that comes later behind a newer one is late.
pub const WAIT_MS_MAX: u64 = 250;
/// A wait is remembered for one to two of these.
const MEMORY_MS: u64 = 5_000;
/// Beyond what was needed.
const SPARE_MS: u64 = 10;

#[derive(Debug, Default)]
pub struct Order {
    /// What was needed in this span, and in the one before.
    needed_ms: [u64; 2],
    span: u64,
}

impl Order {
    /// A record came behind a newer one when it was so old.
    pub fn came_behind(&mut self, age_us: i64, now_ms: u64) {
        let Ok(age_ms) = u64::try_from(age_us / 1_000) else { return };
        // Waiting does not help what comes later than anybody waits.
        if age_ms < WAIT_MS_MAX {
            self.turn(now_ms);
            self.needed_ms[0] = self.needed_ms[0].max((age_ms + SPARE_MS).min(WAIT_MS_MAX));
        }
    }

    /// How old a record is to be before it is shown.
    pub fn wait_ms(&mut self, now_ms: u64) -> u64 {
        self.turn(now_ms);
        self.needed_ms[0].max(self.needed_ms[1])
    }

    fn turn(&mut self, now_ms: u64) {
        let span = now_ms / MEMORY_MS;
        if span > self.span {
            let before = if span == self.span + 1 { self.needed_ms[0] } else { 0 };
            self.needed_ms = [0, before];
            self.span = span;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_as_long_as_was_needed_lately() {
        let mut order = Order::default();
        assert_eq!(order.wait_ms(0), 0, "nothing came behind another");
        order.came_behind(120_000, 1_000);
        order.came_behind(60_000, 1_200);
        assert_eq!(order.wait_ms(1_200), 130);
        // Clocks that are ahead, and what no wait would have helped.
        order.came_behind(-5_000_000, 1_300);
        order.came_behind(400_000, 1_300);
        assert_eq!(order.wait_ms(4_999), 130);
        order.came_behind(249_900, 6_000);
        assert_eq!(order.wait_ms(9_000), WAIT_MS_MAX);
        assert_eq!(order.wait_ms(14_999), WAIT_MS_MAX);
        assert_eq!(order.wait_ms(15_000), 0, "forgotten");
    }
}
