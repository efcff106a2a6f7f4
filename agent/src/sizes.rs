//! The sizes of one file: the end that reading has reached, the size that the kernel reported, and preallocated space behind the
//! text.

use std::ops::Range;

/// The sizes of a file that is read.
#[derive(Clone, Debug, Default)]
pub struct Sizes {
    /// The largest file position that reading has reached.
    read_end: u64,
    /// The size that the kernel reported last. It counts for the lag only: reading has not seen the file up to there.
    on_disk: u64,
    /// The largest size that the kernel ever reported.
    reported_max: u64,
    /// Empty space behind the text, `(begin, end)`: nothing was written there when it was last looked at.
    empty: Range<u64>,
}

impl Sizes {
    /// The largest file position that reading has reached.
    pub fn read_end(&self) -> u64 {
        self.read_end
    }

    /// Notes that reading has seen the file up to `end`.
    pub fn reach(&mut self, end: u64) {
        self.read_end = self.read_end.max(end);
    }

    /// Notes the size that the kernel reported.
    pub fn report(&mut self, size: u64) {
        self.on_disk = size;
        self.reported_max = self.reported_max.max(size);
    }

    /// The largest size that is known of the file.
    pub fn known(&self) -> u64 {
        self.read_end.max(self.on_disk)
    }

    /// The largest size that the file was seen to have, without the empty space behind its text. The file is read up to `position`.
    pub fn largest(&self, position: u64) -> u64 {
        let largest = self.read_end.max(self.reported_max);
        let is_empty = self.empty.start <= position && self.empty.end >= largest;
        if is_empty { position } else { largest }
    }

    /// Notes that the bytes of `room` are empty.
    pub fn saw_empty(&mut self, room: Range<u64>) {
        self.empty = room;
    }

    /// Notes that nothing was written from `position` up to `seen`, and joins it with the empty space that is known behind it.
    pub fn saw_empty_to_the_end(&mut self, position: u64, seen: u64) {
        let known = self.empty.start <= position && !self.empty.is_empty();
        self.empty = position..if known { self.empty.end.max(seen) } else { seen };
    }

    pub fn has_empty_room(&self) -> bool {
        !self.empty.is_empty()
    }

    /// The file may be shorter now than the empty space behind its text: the space was freed, and no text was lost.
    pub fn give_back_room(&mut self, position: u64, size_now: u64) {
        if self.empty.is_empty() || size_now >= self.empty.end {
            return;
        }
        if self.largest(position) == position {
            (self.read_end, self.reported_max) = (position, position);
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
        sizes.reach(100);
        sizes.report(4_096);
        assert_eq!((sizes.read_end(), sizes.known(), sizes.largest(100)), (100, 4_096, 4_096));
        sizes.saw_empty(100..4_096);
        assert_eq!(sizes.largest(100), 100, "there is no text behind the position");
        sizes.give_back_room(100, 4_096);
        assert!(sizes.has_empty_room(), "the room is still there");
        sizes.give_back_room(100, 100);
        assert_eq!((sizes.read_end(), sizes.largest(100), sizes.has_empty_room()), (100, 100, false));
        // (Text may have been written into the space, and been cut off since.)
        sizes.report(4_096);
        sizes.saw_empty(200..4_096);
        assert_eq!(sizes.largest(100), 4_096);
        sizes.give_back_room(100, 150);
        assert_eq!(sizes.largest(100), 4_096, "what was cut off was text");
    }

    #[test]
    fn what_was_seen_empty_stays_empty_behind_a_later_look() {
        let mut sizes = Sizes::default();
        sizes.report(9_000);
        sizes.saw_empty_to_the_end(100, 9_000);
        sizes.saw_empty_to_the_end(200, 5_000);
        assert_eq!(sizes.largest(200), 200);
    }
}
