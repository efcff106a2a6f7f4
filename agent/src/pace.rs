//! Whether a log is busy: something is found at nearly every look. Such a log is looked at less often, because each look costs as much
//! as many lines do.

/// The pace of one log. Times are of the monotonic clock.
#[derive(Debug, Default)]
pub struct Pace {
    read_at_ms: Option<i64>,
    is_busy: bool,
}

impl Pace {
    /// A look is over. `has_read`: it found something; `is_drained`: nothing more is there now. `busy_ms`: what lies no further apart is
    /// written by a busy log.
    pub fn looked(&mut self, has_read: bool, is_drained: bool, now_ms: i64, busy_ms: i64) {
        let follows = self.read_at_ms.is_some_and(|before| now_ms - before <= busy_ms);
        self.is_busy = has_read && is_drained && follows;
        if has_read {
            self.read_at_ms = Some(now_ms);
        }
    }

    pub fn is_busy(&self) -> bool {
        self.is_busy
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_busy_while_every_look_finds_something() {
        let mut pace = Pace::default();
        let mut look = |has_read, is_drained, now_ms| {
            pace.looked(has_read, is_drained, now_ms, 187);
            pace.is_busy()
        };
        assert!(!look(true, true, 0), "one line after a rest");
        assert!(look(true, true, 50));
        assert!(look(true, true, 175));
        assert!(!look(false, true, 300), "nothing came");
        assert!(look(true, true, 350));
        assert!(!look(true, true, 600), "so long after the last one");
        assert!(!look(true, false, 650), "there is more to read now");
    }
}
