//! Gathers the distinct tokens of each granule, and which of its records hold them, until they are sorted.

use super::spill::{Linked, Plain};
use super::{GRANULE_BITS, is_indexed};
use crate::tokens::{Token, TokenKind};

const TURN_BITS: u32 = GRANULE_BITS - 1;
const TURNS: u64 = (1 << TURN_BITS) - 1;
const TABLE_MIN: usize = 1 << 10;
/// A table that a large record made larger is not kept.
const TABLE_KEPT: usize = 1 << 16;

#[derive(Debug)]
pub(super) struct Gather {
    /// What the granule has already; open addressing, a power of two, at most half full. Above [`TURN_BITS`] the hash and whether it is a
    /// pair's, below them in which turn it was put there.
    table: Vec<Slot>,
    turn: u64,
    used: usize,
    pub plain: Vec<Plain>,
    pub pairs: Vec<Linked>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    key: u64,
    /// In `plain` or `pairs`.
    place: u32,
}

impl Gather {
    pub fn new() -> Gather {
        Gather { table: Vec::new(), turn: 1, used: 0, plain: Vec::new(), pairs: Vec::new() }
    }

    /// The record of the granule has the token.
    #[inline]
    pub fn add(&mut self, token: Token, granule: u32, record: u32) {
        if !is_indexed(token.kind) {
            return;
        }
        let hash = token.hash >> GRANULE_BITS;
        let is_pair = token.kind == TokenKind::Pair;
        let (at, records) = (hash << GRANULE_BITS | u64::from(granule), 1 << record);
        match self
            .place(hash << 1 | u64::from(is_pair), if is_pair { self.pairs.len() } else { self.plain.len() })
        {
            Some(place) if is_pair => self.pairs[place].records |= records,
            Some(place) => self.plain[place].records |= records,
            None if is_pair => {
                let word = token.word.map_or(Linked::NONE, |word| word >> GRANULE_BITS);
                self.pairs.push(Linked { at, records, word });
            }
            None => self.plain.push(Plain { at, records }),
        }
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
        self.plain.sort_unstable_by_key(|one| one.at);
        self.pairs.sort_unstable_by_key(|one| one.at);
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
