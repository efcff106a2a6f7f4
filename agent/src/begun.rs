//! Unfinished records of all logs (their ends were not read yet): how many bytes of each are in memory, and which began first.

use std::collections::BTreeMap;

use cordwood_core::identity::OutputStream;
use cordwood_core::pipeline::Pipeline;

/// What is held of records whose ends were not read yet, by the log's number.
#[derive(Debug, Default)]
pub(crate) struct Unfinished {
    logs: BTreeMap<u64, Begun>,
    bytes: usize,
    next: u64,
}

#[derive(Debug)]
struct Begun {
    bytes: usize,
    /// Where the records of stdout and stderr begin.
    starts: [Option<u64>; 2],
    /// Those that began first have the lowest.
    order: u64,
}

impl Unfinished {
    /// Looks at a log again after something was read of it, or sent.
    pub fn note(&mut self, log: u64, pipeline: &Pipeline) {
        let bytes = pipeline.held_bytes();
        let before = self.logs.remove(&log);
        self.bytes = self.bytes + bytes - before.as_ref().map_or(0, |before| before.bytes);
        if bytes == 0 {
            return;
        }
        let starts = [OutputStream::Stdout, OutputStream::Stderr].map(|io| pipeline.pending_start(io));
        let same =
            |before: &Begun| before.starts.iter().zip(&starts).all(|(was, is)| was.is_none() || was == is);
        let order = match before.filter(same) {
            Some(before) => before.order,
            None => {
                self.next += 1;
                self.next
            }
        };
        self.logs.insert(log, Begun { bytes, starts, order });
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Bytes held of one log.
    pub fn of(&self, log: u64) -> usize {
        self.logs.get(&log).map_or(0, |begun| begun.bytes)
    }

    pub fn longest(&self) -> Option<u64> {
        self.logs.iter().max_by_key(|(_, begun)| begun.bytes).map(|(log, _)| *log)
    }

    pub fn oldest_first(&self) -> Vec<u64> {
        let mut logs: Vec<(u64, u64)> = self.logs.iter().map(|(log, begun)| (begun.order, *log)).collect();
        logs.sort_unstable();
        logs.into_iter().map(|(_, log)| log).collect()
    }

    pub fn logs(&self) -> impl Iterator<Item = u64> {
        self.logs.keys().copied()
    }

    pub fn count(&self) -> usize {
        self.logs.len()
    }
}

#[cfg(test)]
mod tests {
    use cordwood_core::audit::AuditTrust;
    use cordwood_core::gate::Gate;
    use cordwood_core::pipeline::{Format, Kept, Now, Output, Span};

    use super::*;

    struct Nobody;

    impl Output for Nobody {
        fn kept(&mut self, _record: Kept<'_>) {}
        fn gated(&mut self, _span: Span) {}
    }

    fn feed(pipeline: &mut Pipeline, text: &str, at: u64) {
        let now = Now {
            format: Format::Cri,
            gate: &Gate::default(),
            audit: &AuditTrust::Shown,
            zone: None,
            time_ns: 0,
        };
        pipeline.feed(text.as_bytes(), at, &now, &mut Nobody);
    }

    #[test]
    fn a_log_that_ended_a_record_is_behind_those_that_wait() {
        let part = |io: &str, tag: char| format!("2026-11-21T02:24:31Z {io} {tag} 0123456789\n");
        let mut unfinished = Unfinished::default();
        let mut pipelines = [Pipeline::new(), Pipeline::new(), Pipeline::new()];
        for (log, pipeline) in pipelines.iter_mut().enumerate() {
            feed(pipeline, &part("stdout", 'P'), 0);
            unfinished.note(log as u64, pipeline);
        }
        assert_eq!((unfinished.oldest_first(), unfinished.bytes()), (vec![0, 1, 2], 30));
        // It goes on, and a record of its other output begins: it stays where it was.
        feed(&mut pipelines[0], &(part("stdout", 'P') + &part("stderr", 'P')), 100);
        unfinished.note(0, &pipelines[0]);
        assert_eq!((unfinished.oldest_first(), unfinished.longest()), (vec![0, 1, 2], Some(0)));
        // One ends and the next begins within one look.
        feed(&mut pipelines[0], &(part("stdout", 'F') + &part("stdout", 'P')), 200);
        unfinished.note(0, &pipelines[0]);
        assert_eq!((unfinished.oldest_first(), unfinished.bytes()), (vec![1, 2, 0], 40));
        feed(&mut pipelines[1], &part("stdout", 'F'), 300);
        unfinished.note(1, &pipelines[1]);
        assert_eq!((unfinished.oldest_first(), unfinished.bytes()), (vec![2, 0], 30));
    }
}
