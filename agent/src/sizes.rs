//! The sizes of one file: the end that reading has reached, the size that the kernel reported, and preallocated space behind the
//! text.

use std::ops::Range;

/// The sizes of a file that is read.
#[derive(Clone, Debug, Default)]
pub struct Sizes {
    /// The largest end that reading has met.
    met: u64,
    /// The size that the system last told, for the lag alone: reading may not take it for what it has seen.
    on_disk: u64,
    /// The largest that the system ever told.
    told: u64,
    /// Nothing was written from the first place to the second, when it was looked at last.
    empty: Range<u64>,
}

impl Sizes {
    /// The largest end that reading has met.
    pub fn met(&self) -> u64 {
        self.met
    }

    /// Reading has seen the file up to there.
    pub fn meet(&mut self, end: u64) {
        self.met = self.met.max(end);
    }

    /// The system told the size.
    pub fn tell(&mut self, size: u64) {
        self.on_disk = size;
        self.told = self.told.max(size);
    }

    /// The largest size that is known of it.
    pub fn known(&self) -> u64 {
        self.met.max(self.on_disk)
    }

    /// The largest size that it ever had, as far as was seen, without empty room behind its text. It is read up to `position`.
    pub fn largest(&self, position: u64) -> u64 {
        let largest = self.met.max(self.told);
        let is_empty = self.empty.start <= position && self.empty.end >= largest;
        if is_empty { position } else { largest }
    }

    /// What was read from `position` on held nothing.
    pub fn saw_empty(&mut self, room: Range<u64>) {
        self.empty = room;
    }

    /// Nothing was written from `position` up to `seen`: with what was known to be empty behind it.
    pub fn saw_empty_to_the_end(&mut self, position: u64, seen: u64) {
        let known = self.empty.start <= position && !self.empty.is_empty();
        self.empty = position..if known { self.empty.end.max(seen) } else { seen };
    }

    pub fn has_empty_room(&self) -> bool {
        !self.empty.is_empty()
    }

    /// It may be shorter now than the empty room that was seen behind its text: that is given back, and nothing lay there.
    pub fn give_back_room(&mut self, position: u64, size_now: u64) {
        if self.empty.is_empty() || size_now >= self.empty.end {
            return;
        }
        if self.largest(position) == position {
            (self.met, self.told) = (position, position);
        }
        self.empty = 0..0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_that_was_made_in_advance_is_no_text_when_it_is_given_back() {
        let mut sizes = Sizes::default();
        sizes.meet(100);
        sizes.tell(4_096);
        assert_eq!((sizes.met(), sizes.known(), sizes.largest(100)), (100, 4_096, 4_096));
        sizes.saw_empty(100..4_096);
        assert_eq!(sizes.largest(100), 100, "there is no text behind the position");
        sizes.give_back_room(100, 4_096);
        assert!(sizes.has_empty_room(), "the room is still there");
        sizes.give_back_room(100, 100);
        assert_eq!((sizes.met(), sizes.largest(100), sizes.has_empty_room()), (100, 100, false));
        // (Text may have come into the room, and been cut off since.)
        sizes.tell(4_096);
        sizes.saw_empty(200..4_096);
        assert_eq!(sizes.largest(100), 4_096);
        sizes.give_back_room(100, 150);
        assert_eq!(sizes.largest(100), 4_096, "what was cut off was text");
    }

    #[test]
    fn what_was_seen_empty_stays_empty_behind_a_later_look() {
        let mut sizes = Sizes::default();
        sizes.tell(9_000);
        sizes.saw_empty_to_the_end(100, 9_000);
        sizes.saw_empty_to_the_end(200, 5_000);
        assert_eq!(sizes.largest(200), 200);
    }
}
