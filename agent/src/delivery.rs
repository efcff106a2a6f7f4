//! Tracks which bytes of one file are in batches, and which of these are acknowledged.
//! Promises: batches of an output tile the file; the checkpoint's position never passes a batch that is not acknowledged.

use std::collections::VecDeque;

use cordwood_core::identity::OutputStream;

/// One batch on its way: the file position must not pass `start` before it is acknowledged.
#[derive(Debug)]
struct Outstanding {
    ticket: u64,
    start: u64,
    end: u64,
    acknowledged: bool,
}

/// The batches of one file.
#[derive(Debug, Default)]
pub struct Delivery {
    /// The end of the last batch that was closed, by output stream.
    ends: [u64; 2],
    acked_ends: [u64; 2],
    outstanding: [VecDeque<Outstanding>; 2],
}

impl Delivery {
    /// All bytes up to these ends are acknowledged already.
    pub fn behind(ends: [u64; 2]) -> Delivery {
        Delivery { ends, acked_ends: ends, ..Delivery::default() }
    }

    /// The end of the last batch of an output stream: the next batch has it as `prev`.
    pub fn end(&self, io: OutputStream) -> u64 {
        self.ends[io as usize]
    }

    /// The state for the checkpoint.
    pub fn acknowledged_ends(&self) -> [u64; 2] {
        self.acked_ends
    }

    /// The output stream that has batches, if only one has.
    pub fn usual_output(&self) -> OutputStream {
        if self.ends[0] == 0 && self.ends[1] > 0 { OutputStream::Stderr } else { OutputStream::Stdout }
    }

    /// Notes a batch that was closed; its lines lie from `start` to `end`.
    pub fn cut(&mut self, io: OutputStream, ticket: u64, start: u64, end: u64) {
        self.ends[io as usize] = end;
        self.outstanding[io as usize].push_back(Outstanding { ticket, start, end, acknowledged: false });
    }

    /// Marks a batch as acknowledged, and moves the ends over all acknowledged batches up to the first that is not.
    pub fn acknowledge(&mut self, io: OutputStream, ticket: u64) {
        let batches = &mut self.outstanding[io as usize];
        if let Some(batch) = batches.iter_mut().find(|batch| batch.ticket == ticket) {
            batch.acknowledged = true;
        }
        while batches.front().is_some_and(|batch| batch.acknowledged) {
            if let Some(batch) = batches.pop_front() {
                let end = &mut self.acked_ends[io as usize];
                *end = (*end).max(batch.end);
            }
        }
    }

    /// The first byte that an unacknowledged batch holds back.
    pub fn held_from(&self) -> Option<u64> {
        // (A record that began first may end last: the first batch is not always the lowest.)
        let waiting = self.outstanding.iter().flatten().filter(|batch| !batch.acknowledged);
        waiting.map(|batch| batch.start).min()
    }

    pub fn is_all_acknowledged(&self) -> bool {
        self.outstanding.iter().all(VecDeque::is_empty)
    }

    /// No more answers will come for what was sent.
    pub fn forget_outstanding(&mut self) {
        self.outstanding.iter_mut().for_each(VecDeque::clear);
        self.ends = self.acked_ends;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_move_over_what_is_safe_without_a_gap() {
        let io = OutputStream::Stdout;
        let mut delivery = Delivery::behind([5, 0]);
        for (ticket, start, end) in [(1, 5, 10), (2, 3, 20), (3, 20, 30)] {
            delivery.cut(io, ticket, start, end);
        }
        delivery.cut(OutputStream::Stderr, 4, 12, 15);
        assert_eq!(
            (delivery.end(io), delivery.acknowledged_ends(), delivery.held_from()),
            (30, [5, 0], Some(3))
        );
        delivery.acknowledge(io, 3);
        delivery.acknowledge(io, 1);
        assert_eq!((delivery.acknowledged_ends(), delivery.held_from()), ([10, 0], Some(3)));
        delivery.acknowledge(io, 2);
        assert_eq!((delivery.acknowledged_ends(), delivery.held_from()), ([30, 0], Some(12)));
        assert!(!delivery.is_all_acknowledged());
        delivery.forget_outstanding();
        assert_eq!((delivery.end(OutputStream::Stderr), delivery.is_all_acknowledged()), (0, true));
    }

    #[test]
    fn the_output_of_a_file_that_has_only_one() {
        let mut delivery = Delivery::default();
        assert_eq!(delivery.usual_output(), OutputStream::Stdout);
        delivery.cut(OutputStream::Stderr, 1, 0, 9);
        assert_eq!(delivery.usual_output(), OutputStream::Stderr);
        delivery.cut(OutputStream::Stdout, 2, 9, 12);
        assert_eq!(delivery.usual_output(), OutputStream::Stdout);
    }
}
