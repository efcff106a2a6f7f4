//! Growing pauses between attempts (exponential back-off with jitter).

use std::hash::{BuildHasher as _, RandomState};
use std::time::Duration;

/// Each pause is twice as long as the one before, up to a longest, and up to half longer by chance, so that many processes do not
/// come all at once.
#[derive(Clone, Debug)]
pub struct Pauses {
    next: Duration,
    min: Duration,
    max: Duration,
}

impl Pauses {
    #[must_use]
    pub fn new(min: Duration, max: Duration) -> Pauses {
        Pauses { next: min, min, max }
    }

    /// How long to wait before the next try.
    pub fn pause(&mut self) -> Duration {
        let pause = self.next;
        self.next = (pause * 2).min(self.max);
        let chance = RandomState::new().hash_one(0) % 500;
        pause + pause * u32::try_from(chance).unwrap_or(0) / 1000
    }

    /// A try succeeded: the next pause is the shortest again.
    pub fn reset(&mut self) {
        self.next = self.min;
    }
}

impl Iterator for Pauses {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        Some(self.pause())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_and_begin_anew_after_a_success() {
        let (min, max) = (Duration::from_millis(100), Duration::from_secs(2));
        let mut pauses = Pauses::new(min, max);
        for step in 0..50 {
            let least = (min * 2_u32.saturating_pow(step)).min(max);
            let pause = pauses.pause();
            assert!((least..least * 3 / 2).contains(&pause), "step {step}: {pause:?}");
        }
        pauses.reset();
        assert!((min..min * 3 / 2).contains(&pauses.pause()));
    }
}
