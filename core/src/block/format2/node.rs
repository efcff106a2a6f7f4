//! A column while it is encoded: its values, and the description and streams that are written for it.

use super::super::columns::put_varint;
use super::streams::Stream;
use super::{ints, tag};

/// What is written for a column and the columns below it.
#[derive(Clone, Debug, Default)]
pub(super) struct Node {
    pub description: Vec<u8>,
    pub streams: Vec<Stream>,
}

impl Node {
    pub fn put_text(&mut self, text: &[u8]) {
        put_varint(&mut self.description, text.len() as u64);
        self.description.extend_from_slice(text);
    }

    /// Answers about how many bits they take.
    pub fn put_ints(&mut self, values: &[u64]) -> u64 {
        let encoded = ints::encode(values);
        let bits = encoded.bits;
        self.streams.push(Stream::of_integers(encoded));
        bits
    }

    pub fn take(&mut self, below: Node) {
        self.description.extend_from_slice(&below.description);
        self.streams.extend(below.streams);
    }

    pub fn measure(&mut self, level: i32) -> usize {
        self.description.len() * 3 / 4
            + self.streams.iter_mut().map(|stream| stream.measure(level)).sum::<usize>()
    }
}

/// The values of a column, and the records that they belong to.
pub(super) struct Column<'c, 'v> {
    pub values: &'c [&'v [u8]],
    /// The index of each value's record; `None`: the values of a list, which belong to no record.
    pub records: Option<&'c [u32]>,
    pub times_us: &'c [i64],
}

impl Column<'_, '_> {
    pub fn time_us(&self, place: usize) -> i64 {
        self.records.map_or(0, |records| self.times_us[records[place] as usize])
    }
}

/// One after the other, whatever they are.
pub(super) fn texts(values: &[&[u8]]) -> Node {
    let mut node = Node::default();
    if values.iter().any(|value| memchr::memchr(b'\n', value).is_some()) {
        node.description.push(tag::TEXTS);
        let lengths: Vec<u64> = values.iter().map(|value| value.len() as u64).collect();
        node.put_ints(&lengths);
        node.streams.push(Stream::new(values.concat()));
    } else {
        node.description.push(tag::LINES);
        let mut lines = Vec::with_capacity(values.iter().map(|value| value.len() + 1).sum());
        for value in values {
            lines.extend_from_slice(value);
            lines.push(b'\n');
        }
        node.streams.push(Stream::new(lines));
    }
    node
}
