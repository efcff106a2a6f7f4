//! Bodies into columns: the cheapest way of each column, by an estimate where that tells enough, else by trial.

use std::collections::HashMap;

use xxhash_rust::xxh3::Xxh3Builder;

use super::super::columns::put_varint;
use super::kinds::typed;
use super::node::{Column, Node, texts};
use super::split::{Cuts, Slot, WHOLE};
use super::streams::{self, Stream};
use super::{CELLS_MAX, DEPTH_MAX, RECENT_MAX, SHAPE_END, STREAM_BYTES_MAX, STREAMS_MAX, ints, tag};

/// Fewer values are not worth a look.
const VALUES_MIN: usize = 6;
/// A list of so few different values is the best way to write a column.
const FEW: usize = 24;
/// Bodies of so few bytes are written both ways.
const SMALL_BYTES: usize = 16 << 10;
/// With fewer values, what describes the columns may take more than they save.
const SURE_MIN: usize = 64;
/// A shape of a text that so many lines have gets columns of its own.
const OWN_COLUMNS_MIN: usize = 8;

/// Appends the bodies, which lie one after the other.
pub(in super::super) fn write(
    out: &mut Vec<u8>,
    level: i32,
    bodies: &[u8],
    lengths: &[u64],
    times_us: &[i64],
) {
    let mut rest = bodies;
    let values: Vec<&[u8]> = lengths
        .iter()
        .map(|&len| {
            let (body, tail) = rest.split_at(len as usize);
            rest = tail;
            body
        })
        .collect();
    let records: Vec<u32> = (0..values.len() as u32).collect();
    let mut encoder = Encoder { level, cells_left: CELLS_MAX };
    let column = Column { values: &values, records: Some(&records), times_us };
    let mut node = encoder.bodies(&column);
    let bytes: usize = node.streams.iter().map(Stream::unpacked_bytes).sum();
    if bytes > STREAM_BYTES_MAX || node.streams.len() > STREAMS_MAX {
        node = texts(&values);
    }
    let start = out.len();
    streams::write(out, level, &node.description, node.streams, bodies.len());
    if bodies.len() <= SMALL_BYTES {
        // What describes columns may be more than they save, and no estimate is as good as that.
        let (plain, mut other) = (texts(&values), Vec::new());
        streams::write(&mut other, level, &plain.description, plain.streams, bodies.len());
        if other.len() < out.len() - start {
            out.truncate(start);
            out.extend_from_slice(&other);
        }
    }
}

struct Encoder {
    level: i32,
    cells_left: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Json,
    /// At words with digits.
    Numbers,
    /// At all words.
    Words,
    /// At digits, also within words.
    Digits,
}

impl Encoder {
    fn bodies(&mut self, column: &Column<'_, '_>) -> Node {
        let values = column.values;
        let looks_like_json = |value: &&&[u8]| value.first() == Some(&b'{') && value.last() == Some(&b'}');
        let json = values.iter().filter(looks_like_json).count();
        if values.len() < VALUES_MIN || json * 2 < values.len() {
            return self.column(column, 0);
        }
        let cells_before = self.cells_left;
        let Some(mut split) = self.split(column, Way::Json, 0) else { return self.column(column, 0) };
        let raw_bytes: usize = values.iter().map(|value| value.len()).sum();
        let is_doubtful = values.len() < SURE_MIN || split.shapes * 8 > values.len();
        if is_doubtful || split.node.measure(self.level) * 3 > raw_bytes {
            let cells_left = std::mem::replace(&mut self.cells_left, cells_before);
            let mut plain = self.column(column, 0);
            if plain.measure(self.level) < split.node.measure(self.level) {
                return plain;
            }
            self.cells_left = cells_left;
        }
        split.node
    }

    fn column(&mut self, column: &Column<'_, '_>, depth: usize) -> Node {
        let values = column.values;
        if let Some(constant) = constant(values) {
            return constant;
        }
        if values.len() < VALUES_MIN {
            return texts(values);
        }
        let typed = typed(column);
        let list = list(column);
        match (typed, list) {
            (Some((typed, bits)), Some((list, list_bits, _))) => {
                if bits < list_bits {
                    typed
                } else {
                    list
                }
            }
            (Some((typed, _)), None) => typed,
            (None, Some((list, _, distinct))) if distinct <= FEW => list,
            (None, list) => self.by_trial(column, list.map(|(list, ..)| list), depth),
        }
    }

    fn by_trial(&mut self, column: &Column<'_, '_>, list: Option<Node>, depth: usize) -> Node {
        let mut best = texts(column.values);
        let mut least = best.measure(self.level);
        let level = self.level;
        let mut is_better = |mut node: Node| {
            let bytes = node.measure(level);
            let is_better = bytes < least;
            if is_better {
                (best, least) = (node, bytes);
            }
            is_better
        };
        if let Some(list) = list {
            is_better(list);
        }
        let cells_before = self.cells_left;
        let mut cells_left = cells_before;
        if depth + 1 < DEPTH_MAX {
            let has_blanks =
                column.values.iter().filter(|value| value.contains(&b' ')).count() > column.values.len() / 2;
            let ways: &[Way] =
                if has_blanks { &[Way::Numbers, Way::Words] } else { &[Way::Numbers, Way::Digits] };
            for &way in ways {
                self.cells_left = cells_before;
                if self.split(column, way, depth).is_some_and(|split| is_better(split.node)) {
                    cells_left = self.cells_left;
                }
            }
            self.cells_left = cells_left;
        }
        best
    }

    /// `None`: it cannot be cut, or there is nothing to gain.
    fn split(&mut self, column: &Column<'_, '_>, way: Way, depth: usize) -> Option<Split> {
        let values = column.values;
        let mut cuts = Cuts::default();
        let (mut shape_bytes, mut shape_ends) = (Vec::new(), Vec::with_capacity(values.len()));
        let (mut slots, mut slot_ends): (Vec<Slot>, _) = (Vec::new(), Vec::with_capacity(values.len()));
        for &value in values {
            let is_cut = match way {
                Way::Json => cuts.json(value),
                Way::Numbers => cuts.text(value, false),
                Way::Words => cuts.text(value, true),
                Way::Digits => cuts.digits(value),
            };
            if !is_cut {
                cuts.whole(value);
            }
            shape_bytes.extend_from_slice(&cuts.shape);
            shape_ends.push(shape_bytes.len());
            slots.extend_from_slice(&cuts.slots);
            slot_ends.push(slots.len());
        }
        if slots.len() > self.cells_left || slots.is_empty() {
            return None;
        }
        let shape_of =
            |place: usize| &shape_bytes[place.checked_sub(1).map_or(0, |p| shape_ends[p])..shape_ends[place]];
        let mut counts: HashMap<&[u8], usize, Xxh3Builder> = HashMap::default();
        for place in 0..values.len() {
            *counts.entry(shape_of(place)).or_default() += 1;
        }
        if way != Way::Json && counts.len() == 1 && counts.keys().all(|shape| shape.len() == 1) {
            return None;
        }
        self.cells_left -= slots.len();
        let mut shapes = Shapes::default();
        let mut columns: Vec<(Vec<&[u8]>, Vec<u32>)> = Vec::new();
        let mut ids = Vec::with_capacity(values.len());
        let mut from = 0;
        for (place, &value) in values.iter().enumerate() {
            let (shape, slots) = (shape_of(place), &slots[from..slot_ends[place]]);
            from = slot_ends[place];
            let is_own = way != Way::Json && counts.get(shape).is_some_and(|&count| count >= OWN_COLUMNS_MIN);
            let id = shapes.id(shape, slots, is_own);
            ids.push(id as u64);
            for (slot, &column_id) in slots.iter().zip(&shapes.columns[id]) {
                if columns.len() <= column_id {
                    columns.resize_with(column_id + 1, Default::default);
                }
                let (values, records) = &mut columns[column_id];
                values.push(&value[slot.range.clone()]);
                records.push(column.records.map_or(0, |records| records[place]));
            }
        }
        let mut node = Node::default();
        node.description.push(tag::SPLIT);
        put_varint(&mut node.description, shapes.columns.len() as u64);
        put_varint(&mut node.description, columns.len() as u64);
        node.streams.push(Stream::new(shapes.bytes));
        let of_slots: Vec<u64> = shapes.columns.iter().flatten().map(|&id| id as u64).collect();
        node.put_ints(&of_slots);
        node.put_ints(&ids);
        let count = shapes.columns.len();
        for (values, records) in &columns {
            let records = column.records.map(|_| records.as_slice());
            let below = Column { values, records, times_us: column.times_us };
            node.take(self.column(&below, depth + 1));
        }
        Some(Split { node, shapes: count })
    }
}

struct Split {
    node: Node,
    shapes: usize,
}

/// The shapes so far: one is a constant text and the columns of its slots.
#[derive(Default)]
struct Shapes {
    bytes: Vec<u8>,
    columns: Vec<Vec<usize>>,
    /// By shape, and by the kinds of its slots where they share their columns with others.
    ids: HashMap<Vec<u8>, usize, Xxh3Builder>,
    /// Of kinds.
    shared: HashMap<u64, usize>,
    columns_count: usize,
    key: Vec<u8>,
}

impl Shapes {
    fn id(&mut self, shape: &[u8], slots: &[Slot], is_own: bool) -> usize {
        self.key.clear();
        self.key.extend_from_slice(shape);
        if !is_own {
            self.key.push(SHAPE_END);
            slots.iter().for_each(|slot| self.key.extend_from_slice(&slot.kind.to_le_bytes()));
        }
        if let Some(&id) = self.ids.get(&self.key) {
            return id;
        }
        let id = self.columns.len();
        self.ids.insert(self.key.clone(), id);
        self.bytes.extend_from_slice(shape);
        self.bytes.push(SHAPE_END);
        let mut new = || {
            self.columns_count += 1;
            self.columns_count - 1
        };
        let columns = slots.iter().map(|slot| {
            if is_own && slot.kind != WHOLE {
                new()
            } else {
                *self.shared.entry(slot.kind).or_insert_with(&mut new)
            }
        });
        self.columns.push(columns.collect());
        id
    }
}

fn constant(values: &[&[u8]]) -> Option<Node> {
    let first = values.first().copied().unwrap_or_default();
    values.iter().all(|&value| value == first).then(|| {
        let mut node = Node::default();
        node.description.push(tag::CONSTANT);
        node.put_text(first);
        node
    })
}

/// Each different value once, and which each is; about how many bits it takes, and how many are different. `None`: most are different.
fn list(column: &Column<'_, '_>) -> Option<(Node, u64, usize)> {
    let values = column.values;
    let mut places: HashMap<&[u8], u64, Xxh3Builder> = HashMap::default();
    let (mut table, mut indexes) = (Vec::new(), Vec::with_capacity(values.len()));
    for (seen, &value) in values.iter().enumerate() {
        let next = places.len() as u64;
        let index = *places.entry(value).or_insert(next);
        if index == next {
            table.push(value);
            if table.len() > 64 + seen / 2 || table.len() > values.len() / 2 {
                return None;
            }
        }
        indexes.push(index);
    }
    let mut node = Node::default();
    node.description.push(tag::DICTIONARY);
    put_varint(&mut node.description, table.len() as u64);
    let plain = ints::encode(&indexes);
    let recent = if table.len() <= RECENT_MAX { Some(ints::encode(&ranks(&indexes))) } else { None };
    let recent = recent.filter(|recent| recent.bits < plain.bits);
    node.description.push(u8::from(recent.is_some()));
    let indexes = recent.unwrap_or(plain);
    let of_list = Column { values: &table, records: None, times_us: &[] };
    let table_bits = table.iter().map(|value| value.len() as u64 * 5 + 8).sum::<u64>();
    let typed = if table.len() >= VALUES_MIN { typed(&of_list) } else { None };
    let (below, below_bits) = match typed {
        Some((typed, bits)) if bits < table_bits => (typed, bits),
        _ => (texts(&table), table_bits),
    };
    node.streams.push(Stream::new(indexes.bytes));
    node.take(below);
    Some((node, indexes.bits + below_bits, table.len()))
}

/// How many others were named since each was named last; one that is new comes after all that are known.
fn ranks(indexes: &[u64]) -> Vec<u64> {
    let mut recent: Vec<u64> = Vec::new();
    indexes
        .iter()
        .map(|&index| match recent.iter().position(|&known| known == index) {
            Some(rank) => {
                recent[..=rank].rotate_right(1);
                rank as u64
            }
            None => {
                recent.insert(0, index);
                recent.len() as u64 - 1
            }
        })
        .collect()
}
