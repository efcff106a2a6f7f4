//! Encodes the bodies of a block as columns. For each column it takes the way that needs the fewest bytes: the remembered choice of the
//! source's earlier blocks; without one, an estimate if that is clear enough; otherwise it tries all ways.

use std::collections::HashMap;

use foldhash::fast::RandomState;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::super::columns::put_varint;
use super::choices::{Choice, Choices, Way, below};
use super::kinds::typed;
use super::node::{Column, Node, texts};
use super::split::{Common, Cuts, OTHER, Slot, WHOLE, WORD};
use super::streams::{self, Stream};
use super::{CELLS_MAX, DEPTH_MAX, RECENT_MAX, SHAPE_END, STREAM_BYTES_MAX, STREAMS_MAX, ints, tag};

/// Fewer values are not worth a look.
const VALUES_MIN: usize = 6;
/// What was best for fewer values says little of others.
const REMEMBERED_MIN: usize = 16;
/// A list of so few different values is the best way to write a column.
const FEW: usize = 24;
/// Bodies of so few bytes are written both ways.
const SMALL_BYTES: usize = 16 << 10;
/// With fewer values, what describes the columns may take more than they save.
const SURE_MIN: usize = 64;
/// A shape of a text that so many lines have gets columns of its own.
const OWN_COLUMNS_MIN: usize = 8;
/// A way that takes longer has to save at least one of so many bytes.
const SLOW_GAIN: usize = 50;
/// Below a root: whether its bodies are cut as JSON.
const AS_JSON: u64 = 1 << 32;

/// The bodies to write.
#[derive(Clone, Copy)]
pub(in super::super) struct Bodies<'b> {
    /// All bodies, one after the other.
    pub bytes: &'b [u8],
    /// Bytes of each body.
    pub lengths: &'b [u64],
    /// The time of each record, microseconds since the Unix epoch.
    pub times_us: &'b [i64],
    /// Identifies blocks whose texts are alike; see [`Choices`].
    pub source: u64,
}

/// Appends the bodies.
pub(in super::super) fn write(out: &mut Vec<u8>, level: i32, bodies: Bodies<'_>, choices: &mut Choices) {
    let raw_bytes = bodies.bytes.len();
    let mut rest = bodies.bytes;
    let values: Vec<&[u8]> = bodies
        .lengths
        .iter()
        .map(|&len| {
            let (body, tail) = rest.split_at(len as usize);
            rest = tail;
            body
        })
        .collect();
    let records: Vec<u32> = (0..values.len() as u32).collect();
    let root = choices.begin(bodies.source);
    let mut encoder = Encoder { level, cells_left: CELLS_MAX, choices: &mut *choices };
    let column = Column { values: &values, records: Some(&records), times_us: bodies.times_us };
    let mut node = encoder.bodies(&column, root);
    let bytes: usize = node.streams.iter().map(Stream::unpacked_bytes).sum();
    if bytes > STREAM_BYTES_MAX || node.streams.len() > STREAMS_MAX {
        node = texts(&values);
    }
    let start = out.len();
    streams::write(out, level, &node.description, node.streams, raw_bytes);
    if raw_bytes <= SMALL_BYTES {
        // What describes columns may be more than they save, and no estimate is as good as that.
        let (plain, mut other) = (texts(&values), Vec::new());
        streams::write(&mut other, level, &plain.description, plain.streams, raw_bytes);
        if other.len() < out.len() - start {
            out.truncate(start);
            out.extend_from_slice(&other);
        }
    } else {
        choices.end(bodies.source, raw_bytes, out.len() - start);
    }
}

struct Encoder<'c> {
    level: i32,
    cells_left: usize,
    choices: &'c mut Choices,
}

impl Encoder<'_> {
    fn bodies(&mut self, column: &Column<'_, '_>, key: u64) -> Node {
        let values = column.values;
        let looks_like_json = |value: &&&[u8]| value.first() == Some(&b'{') && value.last() == Some(&b'}');
        let json = values.iter().filter(looks_like_json).count();
        if values.len() < VALUES_MIN || json * 2 < values.len() {
            return self.column(column, key, 0);
        }
        let as_json = below(key, AS_JSON);
        let before = self.choices.of(as_json);
        if before.is_some_and(|choice| choice != Choice::Split(Way::Json)) {
            return self.column(column, key, 0);
        }
        let cells_before = self.cells_left;
        let Some(mut split) = self.split(column, Way::Json, key, 0) else {
            return self.column(column, key, 0);
        };
        if before.is_some() {
            return split.node;
        }
        let raw_bytes: usize = values.iter().map(|value| value.len()).sum();
        let is_doubtful = values.len() < SURE_MIN || split.shapes * 8 > values.len();
        let mut choice = Choice::Split(Way::Json);
        if is_doubtful || split.node.measure(self.level) * 3 > raw_bytes {
            let cells_left = std::mem::replace(&mut self.cells_left, cells_before);
            let mut plain = self.column(column, key, 0);
            if plain.measure(self.level) < split.node.measure(self.level) {
                (split.node, choice) = (plain, Choice::Texts);
            } else {
                self.cells_left = cells_left;
            }
        }
        if values.len() >= REMEMBERED_MIN {
            self.choices.remember(as_json, choice);
        }
        split.node
    }

    fn column(&mut self, column: &Column<'_, '_>, key: u64, depth: usize) -> Node {
        let values = column.values;
        if let Some(constant) = constant(values) {
            return constant;
        }
        if values.len() < VALUES_MIN {
            return texts(values);
        }
        if let Some(choice) = self.choices.of(key)
            && let Some(node) = self.as_before(column, choice, key, depth)
        {
            return node;
        }
        #[cfg(test)]
        {
            self.choices.trials += 1;
        }
        let (node, choice) = self.best(column, key, depth);
        if values.len() >= REMEMBERED_MIN {
            self.choices.remember(key, choice);
        }
        node
    }

    /// `None`: these values are not so.
    fn as_before(&mut self, column: &Column<'_, '_>, choice: Choice, key: u64, depth: usize) -> Option<Node> {
        match choice {
            Choice::Texts => Some(texts(column.values)),
            Choice::List { is_recent } => list(column, Some(is_recent)).map(|list| list.node),
            Choice::Typed(tag) => typed(column, Some(tag)).map(|(node, _)| node),
            Choice::Split(way) => self.split(column, way, key, depth).map(|split| split.node),
        }
    }

    fn best(&mut self, column: &Column<'_, '_>, key: u64, depth: usize) -> (Node, Choice) {
        match (typed(column, None), list(column, None)) {
            (Some((node, bits)), list) if list.as_ref().is_none_or(|list| bits < list.bits) => {
                let choice = Choice::Typed(node.description.first().copied().unwrap_or_default());
                (node, choice)
            }
            (Some(_), Some(list)) => list.chosen(),
            (None, Some(list)) if list.distinct <= FEW => list.chosen(),
            (_, list) => self.by_trial(column, list, key, depth),
        }
    }

    fn by_trial(
        &mut self,
        column: &Column<'_, '_>,
        list: Option<List>,
        key: u64,
        depth: usize,
    ) -> (Node, Choice) {
        let mut best = (texts(column.values), Choice::Texts);
        let level = self.level;
        let mut least = best.0.measure(level);
        let mut is_better = |(mut node, choice): (Node, Choice)| {
            let bytes = node.measure(level);
            // Counting words takes time, so these ways have to save more than a little.
            let costs_time = matches!(choice, Choice::Split(Way::Templates | Way::Fields));
            let gain_min = if costs_time { least / SLOW_GAIN } else { 0 };
            let is_better = bytes + gain_min < least;
            if is_better {
                (best, least) = ((node, choice), bytes);
            }
            is_better
        };
        if let Some(list) = list {
            is_better(list.chosen());
        }
        let cells_before = self.cells_left;
        let mut cells_left = cells_before;
        if depth + 1 < DEPTH_MAX {
            let has_blanks =
                column.values.iter().filter(|value| value.contains(&b' ')).count() > column.values.len() / 2;
            let ways: &[Way] = if has_blanks {
                &[Way::Numbers, Way::Words, Way::Templates, Way::Fields]
            } else {
                &[Way::Numbers, Way::Digits]
            };
            for &way in ways {
                self.cells_left = cells_before;
                let split = self.split(column, way, key, depth);
                if split.is_some_and(|split| is_better((split.node, Choice::Split(way)))) {
                    cells_left = self.cells_left;
                }
            }
            self.cells_left = cells_left;
        }
        best
    }

    /// `None`: it cannot be cut, or there is nothing to gain.
    fn split(&mut self, column: &Column<'_, '_>, way: Way, key: u64, depth: usize) -> Option<Split> {
        let values = column.values;
        let mut cuts = Cuts::default();
        let (mut shape_bytes, mut shape_ends) = (Vec::new(), Vec::with_capacity(values.len()));
        let (mut slots, mut slot_ends): (Vec<Slot>, _) = (Vec::new(), Vec::with_capacity(values.len()));
        let common = match way {
            Way::Templates => Common::words(values),
            Way::Fields => Common::fields(values),
            Way::Json | Way::Numbers | Way::Words | Way::Digits => Common::default(),
        };
        for &value in values {
            let is_cut = match way {
                Way::Json => cuts.json(value),
                Way::Numbers => cuts.text(value, false),
                Way::Words => cuts.text(value, true),
                Way::Digits => cuts.digits(value),
                Way::Templates => cuts.template(value, &common),
                Way::Fields => cuts.fields(value, &common),
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
        let mut counts: HashMap<&[u8], usize, RandomState> = HashMap::default();
        if way != Way::Json {
            for place in 0..values.len() {
                *counts.entry(shape_of(place)).or_default() += 1;
            }
            if counts.len() == 1 && counts.keys().all(|shape| shape.len() == 1) {
                return None;
            }
        }
        self.cells_left -= slots.len();
        let shares_words = matches!(way, Way::Templates | Way::Fields);
        let mut shapes = Shapes { root: below(key, way as u64), shares_words, ..Shapes::default() };
        let mut columns: Vec<(Vec<&[u8]>, Vec<u32>)> = Vec::new();
        let mut ids = Vec::with_capacity(values.len());
        let mut from = 0;
        for (place, &value) in values.iter().enumerate() {
            let (shape, slots) = (shape_of(place), &slots[from..slot_ends[place]]);
            from = slot_ends[place];
            let is_own = way != Way::Json && counts.get(shape).is_some_and(|&count| count >= OWN_COLUMNS_MIN);
            let id = shapes.id(shape, slots, is_own);
            ids.push(id as u64);
            columns.resize_with(shapes.keys.len(), Default::default);
            for (slot, &column_id) in slots.iter().zip(&shapes.columns[id]) {
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
        for ((values, records), &key) in columns.iter().zip(&shapes.keys) {
            let records = column.records.map(|_| records.as_slice());
            let below = Column { values, records, times_us: column.times_us };
            node.take(self.column(&below, key, depth + 1));
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
    ids: HashMap<Vec<u8>, usize, RandomState>,
    /// Of kinds.
    shared: HashMap<u64, usize, RandomState>,
    /// By which the choice of each column is remembered.
    keys: Vec<u64>,
    root: u64,
    name: Vec<u8>,
    /// The one before: most lines have the shape of theirs.
    last: Option<usize>,
    last_name: Vec<u8>,
    /// The words of all shapes go to one column, because texts of several shapes name the same things.
    shares_words: bool,
}

impl Shapes {
    fn id(&mut self, shape: &[u8], slots: &[Slot], is_own: bool) -> usize {
        self.name.clear();
        self.name.extend_from_slice(shape);
        if !is_own {
            self.name.push(SHAPE_END);
            slots.iter().for_each(|slot| self.name.extend_from_slice(&slot.kind.to_le_bytes()));
        }
        if let Some(last) = self.last
            && self.name == self.last_name
        {
            return last;
        }
        let known = self.ids.get(&self.name).copied();
        let id = known.unwrap_or_else(|| self.add(shape, slots, is_own));
        std::mem::swap(&mut self.name, &mut self.last_name);
        self.last = Some(id);
        id
    }

    fn add(&mut self, shape: &[u8], slots: &[Slot], is_own: bool) -> usize {
        let id = self.columns.len();
        self.ids.insert(self.name.clone(), id);
        self.bytes.extend_from_slice(shape);
        self.bytes.push(SHAPE_END);
        let Shapes { shared, keys, root, shares_words, .. } = self;
        let is_shared =
            |slot: &Slot| slot.kind == WHOLE || *shares_words && matches!(slot.kind, WORD | OTHER);
        let of_shape = if is_own { xxh3_64_with_seed(shape, *root) } else { *root };
        let mut new = |key| {
            keys.push(key);
            keys.len() - 1
        };
        let columns = slots.iter().enumerate().map(|(place, slot)| {
            if is_own && !is_shared(slot) {
                new(below(of_shape, place as u64))
            } else {
                *shared.entry(slot.kind).or_insert_with(|| new(below(*root, slot.kind)))
            }
        });
        let columns = columns.collect();
        self.columns.push(columns);
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

/// Each different value once, and which each is.
struct List {
    node: Node,
    /// About as many as it takes.
    bits: u64,
    distinct: usize,
    is_recent: bool,
}

impl List {
    fn chosen(self) -> (Node, Choice) {
        (self.node, Choice::List { is_recent: self.is_recent })
    }
}

/// `None`: most values are different. `is_recent`: whether places are written by recency, where it is known what is best.
fn list(column: &Column<'_, '_>, is_recent: Option<bool>) -> Option<List> {
    let values = column.values;
    let mut places: HashMap<&[u8], u64, RandomState> = HashMap::default();
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
    let may_be_recent = table.len() <= RECENT_MAX;
    let plain = (is_recent != Some(true) || !may_be_recent).then(|| ints::encode(&indexes));
    let recent = (is_recent != Some(false) && may_be_recent).then(|| ints::encode(&ranks(&indexes)));
    let (indexes, is_recent) = match (plain, recent) {
        (Some(plain), Some(recent)) if recent.bits < plain.bits => (recent, true),
        (Some(plain), _) => (plain, false),
        (None, recent) => (recent?, true),
    };
    let mut node = Node::default();
    node.description.push(tag::DICTIONARY);
    put_varint(&mut node.description, table.len() as u64);
    node.description.push(u8::from(is_recent));
    let of_list = Column { values: &table, records: None, times_us: &[] };
    let table_bits = table.iter().map(|value| value.len() as u64 * 5 + 8).sum::<u64>();
    let typed = if table.len() >= VALUES_MIN { typed(&of_list, None) } else { None };
    let (below, below_bits) = match typed {
        Some((typed, bits)) if bits < table_bits => (typed, bits),
        _ => (texts(&table), table_bits),
    };
    let bits = indexes.bits + below_bits;
    node.streams.push(Stream::of_integers(indexes));
    node.take(below);
    Some(List { node, bits, distinct: table.len(), is_recent })
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
