//! The horizon: the clock that retention goes by. It follows PostgreSQL's, but not further in one pass than a step, and then at a bounded
//! pace.
//!
//! A clock that jumps by a year would let everything expire at once, and nobody can tell such a jump from a year in which nobody looked.
//! So neither is believed at once: the first pass after it moves the horizon by one step, each later one by [`PACE`] times what the
//! clock has moved since the pass before. A weekend without an operator is made up for within two hours, a year within 16 days. A clock
//! that goes back takes the horizon with it in the same way: what is held against it is the earlier of the two, so nothing goes early.

/// How far the horizon follows the clock in one pass, at the most: a day.
pub const STEP_US: i64 = 86_400_000_000;

/// How many times as fast as the clock the horizon catches up with it.
pub const PACE: i64 = 24;

/// Where the horizon and PostgreSQL's clock stood at the last pass. Microseconds since the epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Horizon {
    pub at_us: i64,
    pub clock_us: i64,
}

impl Horizon {
    /// As of this pass. `None`: there was no pass yet, and the clock is believed.
    pub fn next(before: Option<Horizon>, now_us: i64, step_us: i64) -> Horizon {
        let Some(Horizon { at_us, clock_us }) = before else {
            return Horizon { at_us: now_us, clock_us: now_us };
        };
        let passed_us = now_us.saturating_sub(clock_us).saturating_abs();
        let most_us = passed_us.saturating_mul(PACE).min(step_us.max(0));
        let wanted_us = now_us.saturating_sub(at_us);
        Horizon { at_us: at_us.saturating_add(wanted_us.clamp(-most_us, most_us)), clock_us: now_us }
    }

    /// What expiry is judged by: never later than the clock.
    pub fn judged_us(self) -> i64 {
        self.at_us.min(self.clock_us)
    }

    /// How far it is behind the clock.
    pub fn behind_us(self) -> i64 {
        self.clock_us.saturating_sub(self.at_us).max(0)
    }

    /// About when it has caught up, rounded up to a whole hour: the same at each pass.
    pub fn caught_up_us(self) -> i64 {
        const HOUR_US: i64 = 3_600_000_000;
        let at_us = self.clock_us.saturating_add(self.behind_us() / (PACE - 1));
        at_us.saturating_add(HOUR_US - 1).div_euclid(HOUR_US).saturating_mul(HOUR_US)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: i64 = 1_000_000;
    const HOUR: i64 = 3600 * SECOND;
    const DAY: i64 = 24 * HOUR;
    const NOON: i64 = 1_795_003_200_000_000;

    /// Passes every 10 s from `before` on, with the clock at `clock_us` at the first; how many until it has caught up.
    fn passes(before: Horizon, clock_us: i64) -> usize {
        let mut horizon = Horizon::next(Some(before), clock_us, STEP_US);
        let mut passes = 1;
        while horizon.at_us != horizon.clock_us {
            horizon = Horizon::next(Some(horizon), horizon.clock_us + 10 * SECOND, STEP_US);
            passes += 1;
        }
        passes
    }

    #[test]
    fn it_follows_the_clock_and_no_jump_of_it() {
        let at = |us| Horizon { at_us: us, clock_us: us };
        assert_eq!(Horizon::next(None, NOON, STEP_US), at(NOON));
        // (name, how far the clock moved since the last pass, hours until the horizon is there)
        let rows = [
            ("a pass", 10 * SECOND, 0),
            ("an hour without an operator", HOUR, 0),
            ("a day", DAY, 0),
            ("a weekend", 60 * HOUR, 1),
            ("a month", 30 * DAY, 30),
            ("a year", 365 * DAY, 379),
            ("back by a second", -SECOND, 0),
            ("back by an hour", -HOUR, 0),
            ("back by three days", -3 * DAY, 1),
        ];
        for (name, moved, hours) in rows {
            assert_eq!(passes(at(NOON), NOON + moved) / 360, hours, "{name}");
            let first = Horizon::next(Some(at(NOON)), NOON + moved, STEP_US);
            assert!((first.at_us - NOON).abs() <= STEP_US, "{name}");
            assert!(first.judged_us() <= NOON + moved, "{name}");
        }
    }

    /// A machine that starts in 1970 and has its time a minute later has not lost its place.
    #[test]
    fn a_clock_that_was_wrong_for_a_minute_is_made_up_for_within_minutes() {
        let wrong = Horizon::next(Some(Horizon { at_us: NOON, clock_us: NOON }), 0, STEP_US);
        let wrong = Horizon::next(Some(wrong), 60 * SECOND, STEP_US);
        assert_eq!(wrong.judged_us(), 60 * SECOND);
        assert!(passes(wrong, NOON + 60 * SECOND) < 30);
    }

    #[test]
    fn when_it_has_caught_up_is_the_same_at_each_pass() {
        let mut horizon = Horizon { at_us: NOON - 40 * DAY, clock_us: NOON };
        let until_us = horizon.caught_up_us();
        for _ in 0..1000 {
            horizon = Horizon::next(Some(horizon), horizon.clock_us + 10 * SECOND, STEP_US);
            assert_eq!(horizon.caught_up_us(), until_us);
        }
    }

    proptest! {
        /// Whatever clocks say: in all no further than a step for each jump and the pace for the rest; and never past the clock.
        #[test]
        fn it_goes_no_further_than_it_may(moves in proptest::collection::vec(-400 * DAY..400 * DAY, 1..40), step in 0..3 * DAY) {
            let mut horizon = Horizon { at_us: NOON, clock_us: NOON };
            for moved in moves {
                let next = Horizon::next(Some(horizon), horizon.clock_us + moved, step);
                prop_assert!((next.at_us - horizon.at_us).abs() <= step);
                prop_assert!((next.at_us - horizon.at_us).abs() <= moved.abs() * PACE);
                prop_assert!(next.judged_us() <= next.clock_us);
                horizon = next;
            }
        }
    }
}
