//! Sets the reader's beat: the moments at which it looks at busy logs and cuts batches, the same for all logs. So a look finds more than a
//! few lines, and Kafka gets few large requests.
//! Promises: a line that was read waits at most `batch.linger_ms` (or `read.poll_interval_ms`, if that is longer) until its batch is cut; a
//! log that is not busy does not wait for the beat.

/// The longest time between two looks at a busy log, milliseconds. Its ERROR lines wait as long.
const LOOK_MS_MAX: i64 = 125;

/// What a round has to do for busy logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Due {
    /// Look at busy logs and read them.
    pub look: bool,
    /// Cut the batches that were read so far.
    pub cut: bool,
}

/// Beats lie at multiples of an interval on the monotonic clock.
pub(super) struct Beat {
    /// Milliseconds between two beats.
    look_ms: i64,
    /// Batches are cut at every n-th beat.
    looks_per_cut: i64,
    /// The number of the last beat that a round has served.
    last: Option<i64>,
}

impl Beat {
    /// `poll_ms`: time between two looks at a log that is not busy. `linger_ms`: the longest time that a line waits for others to fill its
    /// batch. Both in milliseconds.
    pub fn new(poll_ms: i64, linger_ms: i64) -> Beat {
        let linger_ms = linger_ms.max(1);
        let parts = (linger_ms + LOOK_MS_MAX - 1) / LOOK_MS_MAX;
        let look_ms = (linger_ms / parts).max(poll_ms).max(1);
        Beat { look_ms, looks_per_cut: (linger_ms / look_ms).max(1), last: None }
    }

    /// What is due in the round that begins now.
    pub fn begin_round(&mut self, now_ms: i64) -> Due {
        let beat = now_ms.div_euclid(self.look_ms);
        let cut = |beat: i64| beat.div_euclid(self.looks_per_cut);
        let last = self.last.replace(beat);
        Due { look: last.is_none_or(|last| last < beat), cut: last.is_none_or(|last| cut(last) < cut(beat)) }
    }

    /// The time of the next beat, milliseconds on the monotonic clock.
    pub fn next_ms(&self, now_ms: i64) -> i64 {
        (now_ms.div_euclid(self.look_ms) + 1) * self.look_ms
    }

    /// A log that had something to read at two looks within this time is busy, milliseconds.
    pub fn busy_ms(&self) -> i64 {
        self.look_ms * 3 / 2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_comes_as_often_as_the_settings_say() {
        // (poll, linger) -> looks and cuts in a second, in rounds of 5 ms.
        for (poll_ms, linger_ms, looks, cuts) in [
            (50, 250, 8, 4),
            (50, 100, 10, 10),
            (50, 1_000, 8, 1),
            (3, 5, 200, 200),
            (200, 250, 5, 5),
            (50, 0, 20, 20),
        ] {
            let mut beat = Beat::new(poll_ms, linger_ms);
            beat.begin_round(0);
            let due: Vec<Due> = (5..=1_000).step_by(5).map(|now_ms| beat.begin_round(now_ms)).collect();
            let count = |is: fn(&Due) -> bool| due.iter().filter(|due| is(due)).count();
            assert_eq!((count(|due| due.look), count(|due| due.cut)), (looks, cuts), "{poll_ms} {linger_ms}");
            assert!(due.iter().all(|due| due.look || !due.cut), "what is cut was looked at before");
        }
    }

    #[test]
    fn a_round_that_comes_late_has_what_was_missed_and_no_more() {
        let mut beat = Beat::new(50, 250);
        assert_eq!(beat.begin_round(10), Due { look: true, cut: true }, "the first");
        assert_eq!((beat.begin_round(124), beat.next_ms(124)), (Due { look: false, cut: false }, 125));
        assert_eq!(beat.begin_round(126), Due { look: true, cut: false });
        assert_eq!((beat.begin_round(900), beat.next_ms(900)), (Due { look: true, cut: true }, 1_000));
        assert_eq!(beat.begin_round(901), Due { look: false, cut: false });
    }
}
