//! Prints what standalone is doing: one line on a terminal while it runs, and a summary at its end.

use std::collections::VecDeque;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

use crate::logging;
use crate::output::Style;
use crate::output::columns::{bytes, grouped};

/// What is known at a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moment {
    pub files: usize,
    /// On disk, not yet read.
    pub lag_bytes: u64,
    /// Read, not yet stored.
    pub held_bytes: usize,
    /// Of records whose ends have not come: nobody can say whether they will.
    pub unfinished_bytes: usize,
    /// Since the start.
    pub stored: u64,
    pub duplicates: u64,
}

pub struct StatusLine {
    style: Style,
    shown: bool,
    /// The last seconds, for the rate.
    history: VecDeque<(Instant, u64)>,
}

const WINDOW: Duration = Duration::from_secs(5);

impl StatusLine {
    pub fn new(style: Style, quiet: bool) -> StatusLine {
        StatusLine { style, shown: !quiet && std::io::stderr().is_terminal(), history: VecDeque::new() }
    }

    pub fn show(&mut self, now: Instant, moment: &Moment) {
        self.history.push_back((now, moment.stored));
        while self.history.len() > 2
            && self.history.front().is_some_and(|(at, _)| now.duration_since(*at) > WINDOW)
        {
            self.history.pop_front();
        }
        if self.shown {
            let line = self.text(moment);
            logging::set_status(&self.style.dim(&line));
        }
    }

    pub fn clear(&mut self) {
        if std::mem::take(&mut self.shown) {
            logging::set_status("");
        }
    }

    fn text(&self, moment: &Moment) -> String {
        let rate = match (self.history.front(), self.history.back()) {
            (Some((from, a)), Some((to, b))) if to > from => {
                let span_ms = u64::try_from(to.duration_since(*from).as_millis()).unwrap_or(u64::MAX).max(1);
                (b - a).saturating_mul(1000) / span_ms
            }
            _ => 0,
        };
        let mut line =
            format!("{} files, {} records stored", grouped(moment.files as u64), grouped(moment.stored));
        if rate > 0 {
            line.push_str(&format!(", {}/s", grouped(rate)));
        }
        if moment.lag_bytes > 0 {
            line.push_str(&format!(", {} to read", bytes(moment.lag_bytes)));
        }
        if moment.held_bytes > 0 {
            line.push_str(&format!(", {} on the way", bytes(moment.held_bytes as u64)));
        }
        line
    }
}

/// Whether nothing has moved for a while and nothing is on its way.
#[derive(Debug, Default)]
pub struct Idle {
    last: Option<Moment>,
    since: Option<Instant>,
}

impl Idle {
    pub fn for_how_long(&mut self, now: Instant, moment: &Moment) -> Duration {
        if self.last.as_ref() != Some(moment) || moment.held_bytes > 0 {
            self.last = Some(*moment);
            self.since = Some(now);
        }
        self.since.map_or(Duration::ZERO, |since| now.duration_since(since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_is_when_nothing_moves_and_nothing_is_held() {
        let mut idle = Idle::default();
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let still = Moment { files: 1, stored: 5, ..Moment::default() };
        let held = Moment { held_bytes: 9, ..still };
        assert_eq!(idle.for_how_long(at(0), &still), Duration::ZERO);
        assert_eq!(idle.for_how_long(at(3), &still), Duration::from_secs(3));
        assert_eq!(idle.for_how_long(at(4), &held), Duration::ZERO);
        assert_eq!(idle.for_how_long(at(9), &held), Duration::ZERO, "held bytes are never idle");
        assert_eq!(idle.for_how_long(at(10), &still), Duration::ZERO);
        assert_eq!(idle.for_how_long(at(12), &still), Duration::from_secs(2));
        let unfinished = Moment { unfinished_bytes: 9, ..still };
        assert_eq!(idle.for_how_long(at(13), &unfinished), Duration::ZERO, "it has moved");
        assert_eq!(idle.for_how_long(at(15), &unfinished), Duration::from_secs(2), "its end may never come");
    }

    #[test]
    fn the_line_says_what_matters() {
        let mut status = StatusLine { style: Style::plain(), shown: false, history: VecDeque::new() };
        let start = Instant::now();
        status.show(start, &Moment::default());
        let moment =
            Moment { files: 2, stored: 10_000, lag_bytes: 2048, held_bytes: 10, ..Moment::default() };
        status.show(start + Duration::from_secs(2), &moment);
        assert_eq!(
            status.text(&moment),
            "2 files, 10,000 records stored, 5,000/s, 2.0 KiB to read, 10 B on the way"
        );
    }
}
