//! Gathers the distinct tokens of each granule, and which of the granule's records hold each, until the builder sorts and codes them.

use super::spill::{Linked, Occurrence, Plain};
use super::{GRANULE_BITS, is_indexed};
use crate::tokens::{Token, TokenKind};

const TURN_BITS: u32 = GRANULE_BITS - 1;
const TURNS: u64 = (1 << TURN_BITS) - 1;
const TABLE_MIN: usize = 1 << 10;
/// A table that a large record made larger is not kept.
const TABLE_KEPT: usize = 1 << 16;

/// The tokens that are gathered and not coded.
#[derive(Debug)]
pub(super) struct Gather {
    /// Hash table of the tokens of the current granule: open addressing, a power of two, at most half full.
    table: Vec<Slot>,
    /// Counts granules (modulo [`TURNS`]). A slot of another turn is empty, so the table need not be cleared for each granule.
    turn: u64,
    /// Slots of this turn.
    used: usize,
    /// One for each plain token of each granule.
    pub plain: Vec<Plain>,
    /// One for each pair of each granule.
    pub pairs: Vec<Linked>,
    /// Groups of tokens, by the caller's number.
    groups: Vec<Group>,
    /// Numbers of the groups that the current granule has.
    grouped: Vec<u32>,
}

/// Tokens that always come together, as the names of one origin do.
#[derive(Clone, Debug, Default)]
struct Group {
    /// Indexes of its tokens in [`Gather::plain`].
    places: Vec<u32>,
    /// Indexes of its tokens in [`Gather::pairs`].
    pairs: Vec<u32>,
    /// A bit for each record of the granule that has the group; 0: the granule does not have it.
    records: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    /// From bit [`TURN_BITS`] on the hash and whether the token is a pair; below, the turn in which the slot was filled.
    key: u64,
    /// Index in [`Gather::plain`] or [`Gather::pairs`].
    place: u32,
}

impl Gather {
    pub fn new() -> Gather {
        Gather {
            table: Vec::new(),
            turn: 1,
            used: 0,
            plain: Vec::new(),
            pairs: Vec::new(),
            groups: Vec::new(),
            grouped: Vec::new(),
        }
    }

    /// The record of the granule has the token.
    #[inline]
    pub fn add(&mut self, token: Token, granule: u32, record: u32) {
        if !is_indexed(token.kind) {
            return;
        }
        let place = self.place_of(token, granule);
        match token.kind {
            TokenKind::Pair => self.pairs[place].records |= 1 << record,
            _ => self.plain[place].records |= 1 << record,
        }
    }

    /// Where the token is, in `pairs` or `plain`; it is put there if it is not.
    #[inline]
    fn place_of(&mut self, token: Token, granule: u32) -> usize {
        let hash = token.hash >> GRANULE_BITS;
        let is_pair = token.kind == TokenKind::Pair;
        let next = if is_pair { self.pairs.len() } else { self.plain.len() };
        if let Some(place) = self.place(hash << 1 | u64::from(is_pair), next) {
            return place;
        }
        let (at, records) = (hash << GRANULE_BITS | u64::from(granule), 0);
        if is_pair {
            let word = token.word.map_or(Linked::NONE, |word| word >> GRANULE_BITS);
            self.pairs.push(Linked { at, records, word });
        } else {
            self.plain.push(Plain { at, records });
        }
        next
    }

    /// The record of the granule has all tokens of a group. They are looked at once in a granule.
    #[inline]
    pub fn add_group(&mut self, group: usize, granule: u32, record: u32, tokens: &[Token]) {
        match self.groups.get_mut(group) {
            Some(known) if known.records != 0 => known.records |= 1 << record,
            _ => self.begin_group(group, granule, record, tokens),
        }
    }

    fn begin_group(&mut self, number: usize, granule: u32, record: u32, tokens: &[Token]) {
        if self.groups.len() <= number {
            self.groups.resize(number + 1, Group::default());
        }
        let mut group = std::mem::take(&mut self.groups[number]);
        group.records = 1 << record;
        group.places.clear();
        group.pairs.clear();
        for &token in tokens.iter().filter(|token| is_indexed(token.kind)) {
            let place = self.place_of(token, granule) as u32;
            let places = if token.kind == TokenKind::Pair { &mut group.pairs } else { &mut group.places };
            places.push(place);
        }
        self.groups[number] = group;
        self.grouped.push(number as u32);
    }

    /// Where the token was put; `None`: it is new, and will be at `next`.
    #[inline]
    fn place(&mut self, key: u64, next: usize) -> Option<usize> {
        if self.table.is_empty() {
            self.table.resize(TABLE_MIN, Slot::default());
        }
        let mask = self.table.len() - 1;
        let mut slot = (key >> 1) as usize & mask;
        let key = key << TURN_BITS | self.turn;
        while self.table[slot].key & TURNS == self.turn {
            if self.table[slot].key == key {
                return Some(self.table[slot].place as usize);
            }
            slot = (slot + 1) & mask;
        }
        self.table[slot] = Slot { key, place: next as u32 };
        self.used += 1;
        if self.used * 2 > self.table.len() {
            self.grow();
        }
        None
    }

    fn grow(&mut self) {
        let mask = self.table.len() * 2 - 1;
        let before = std::mem::replace(&mut self.table, vec![Slot::default(); mask + 1]);
        for one in before.into_iter().filter(|one| one.key & TURNS == self.turn) {
            let mut slot = (one.key >> (TURN_BITS + 1)) as usize & mask;
            while self.table[slot].key != 0 {
                slot = (slot + 1) & mask;
            }
            self.table[slot] = one;
        }
    }

    /// What comes next is of another granule.
    pub fn end_granule(&mut self) {
        for number in self.grouped.drain(..) {
            let group = &mut self.groups[number as usize];
            group.places.iter().for_each(|&place| self.plain[place as usize].records |= group.records);
            group.pairs.iter().for_each(|&place| self.pairs[place as usize].records |= group.records);
            group.records = 0;
        }
        if self.used == 0 {
            return;
        }
        self.used = 0;
        self.turn += 1;
        if self.table.len() > TABLE_KEPT || self.turn > TURNS {
            self.table.clear();
            self.table.resize(TABLE_MIN, Slot::default());
            self.turn = 1;
        }
    }

    pub fn sort(&mut self) {
        sort(&mut self.plain);
        sort(&mut self.pairs);
    }

    /// Its memory goes, too.
    pub fn clear(&mut self) {
        self.plain = Vec::new();
        self.pairs = Vec::new();
    }

    /// Between two granules: what is only needed while records come.
    pub fn rest(&mut self) {
        debug_assert_eq!(self.used, 0);
        (self.table, self.turn) = (Vec::new(), 1);
    }

    pub fn bytes(&self) -> usize {
        size_of_val(&self.plain[..]) + size_of_val(&self.pairs[..])
    }
}

/// Of a bucket, about.
const BUCKET: usize = 256;
const BUCKET_BITS_MAX: u32 = 11;

/// By token and granule. Hashes are spread evenly, so their leading bits part what is to be sorted into buckets that fit into a near
/// cache, in place.
fn sort<T: Occurrence>(all: &mut [T]) {
    let bits = (all.len() / BUCKET).max(1).ilog2().min(BUCKET_BITS_MAX);
    if bits == 0 {
        return all.sort_unstable_by_key(|one| one.at());
    }
    let bucket_of = |one: &T| (one.at() >> (u64::BITS - bits)) as usize;
    let mut ends = vec![0usize; 1 << bits];
    all.iter().for_each(|one| ends[bucket_of(one)] += 1);
    let mut next = Vec::with_capacity(ends.len());
    let mut before = 0;
    for end in &mut ends {
        next.push(before);
        before += *end;
        *end = before;
    }
    let mut begin = 0;
    for (bucket, &end) in ends.iter().enumerate() {
        while next[bucket] < end {
            // What lies here goes where it belongs, and so does what it pushes out, until one belongs here.
            let mut one = all[next[bucket]];
            loop {
                let of = bucket_of(&one);
                if of == bucket {
                    break;
                }
                std::mem::swap(&mut one, &mut all[next[of]]);
                next[of] += 1;
            }
            all[next[bucket]] = one;
            next[bucket] += 1;
        }
        all[begin..end].sort_unstable_by_key(|one| one.at());
        begin = end;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::tokens::mix;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn what_is_sorted_in_buckets_is_sorted(count in 0..20_000u64, distinct in 1..20_000u64, seed in any::<u64>()) {
            let one = |n: u64| Plain { at: mix(seed ^ (mix(n) % distinct)) << GRANULE_BITS | n, records: n };
            let mut all: Vec<Plain> = (0..count).map(one).collect();
            let mut expected = all.clone();
            expected.sort_by_key(|one| one.at);
            sort(&mut all);
            let told = |all: &[Plain]| all.iter().map(|one| (one.at, one.records)).collect::<Vec<_>>();
            prop_assert_eq!(told(&all), told(&expected));
        }
    }
}
