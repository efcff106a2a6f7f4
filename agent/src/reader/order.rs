//! Decides which logs have a turn in a round, in which order, and which one is first in the next round.
//! Promise: no log has a second turn before every other log has had one.

use std::collections::BTreeSet;

/// Stands in a round for one extra turn: it continues unfinished records that take much of the memory. No log has this number.
pub(crate) const READ_ON: u64 = 0;

/// Where the next round begins, by a log's number.
#[derive(Debug, Default)]
pub(crate) struct Order {
    begins_at: u64,
}

impl Order {
    /// The numbers of the logs that have a turn in this round, in their order, and [`READ_ON`] once.
    pub fn of(&self, active: &BTreeSet<u64>) -> Vec<u64> {
        let after = active.range(self.begins_at.max(1)..).copied();
        let before = active.range(..self.begins_at).copied();
        if self.begins_at == READ_ON {
            std::iter::once(READ_ON).chain(after).collect()
        } else {
            after.chain(std::iter::once(READ_ON)).chain(before).collect()
        }
    }

    pub fn begin_at(&mut self, log: u64) {
        self.begins_at = log;
    }

    pub fn begin_behind(&mut self, log: u64) {
        self.begins_at = log + 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_one_turn_wherever_a_round_begins() {
        let active = BTreeSet::from([1, 4, 7]);
        let mut order = Order::default();
        assert_eq!(order.of(&active), [READ_ON, 1, 4, 7]);
        order.begin_at(4);
        assert_eq!(order.of(&active), [4, 7, READ_ON, 1]);
        order.begin_behind(7);
        assert_eq!(order.of(&active), [READ_ON, 1, 4, 7]);
        order.begin_behind(READ_ON);
        assert_eq!(order.of(&active), [1, 4, 7, READ_ON]);
    }
}
