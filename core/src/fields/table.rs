//! A hash table of names that is built when the program is compiled.

use super::names::Key;
use super::scan::Text;

/// Bytes of a key that can still be a name; longer ones are not looked up.
const KEY_BYTES_MAX: usize = 48;

/// Slots of the table; a power of two, sparse, so that a lookup is mostly one comparison.
const SLOTS: usize = 1024;

/// One name.
#[derive(Clone, Copy)]
pub struct Entry {
    /// Normalized: lower case, without `_`, `-` and `.`.
    pub name: &'static str,
    pub key: Key,
    /// Level or audit can depend on it.
    pub quick: bool,
}

/// A key in lower case and without `_`, `-` and `.`, and its hash.
#[derive(Clone, Copy, Debug)]
pub struct Normal {
    bytes: [u8; KEY_BYTES_MAX],
    len: usize,
    hash: u32,
}

const HASH_START: u32 = 0x811c_9dc5;

/// FNV-1a.
const fn hash_step(hash: u32, byte: u8) -> u32 {
    (hash ^ byte as u32).wrapping_mul(0x0100_0193)
}

const fn slot_of(hash: u32) -> usize {
    ((hash ^ (hash >> 15)) as usize) & (SLOTS - 1)
}

impl Normal {
    /// `None` for a key that is too long to be a name.
    pub fn of(key: Text<'_>) -> Option<Normal> {
        if key.escaped {
            return Normal::of_bytes(&key.bytes());
        }
        Normal::of_bytes(key.raw)
    }

    fn of_bytes(key: &[u8]) -> Option<Normal> {
        if key.len() > KEY_BYTES_MAX {
            return None;
        }
        let mut normal = Normal { bytes: [0; KEY_BYTES_MAX], len: 0, hash: HASH_START };
        for byte in key {
            if matches!(byte, b'_' | b'-' | b'.') {
                continue;
            }
            let lower = byte.to_ascii_lowercase();
            normal.bytes[normal.len] = lower;
            normal.len += 1;
            normal.hash = hash_step(normal.hash, lower);
        }
        Some(normal)
    }

    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

pub struct Table<const N: usize> {
    entries: &'static [Entry],
    /// Index + 1 of the entry; 0 is empty.
    slots: [u16; SLOTS],
    /// For each first letter, which last letters a name has that level or audit can depend on.
    quick: [u64; 64],
}

/// Letters and digits (in any case) as 0 to 63.
const fn letter(byte: u8) -> usize {
    (byte.to_ascii_lowercase() & 63) as usize
}

impl<const N: usize> Table<N> {
    /// Fails to compile when a name is there twice or is not normalized.
    pub const fn new(entries: &'static [Entry]) -> Table<N> {
        assert!(N * 4 < SLOTS && N < u16::MAX as usize && N == entries.len());
        let mut table = Table { entries, slots: [0; SLOTS], quick: [0; 64] };
        let mut index = 0;
        while index < N {
            let name = entries[index].name.as_bytes();
            let mut hash = HASH_START;
            let mut at = 0;
            while at < name.len() {
                assert!(!matches!(name[at], b'_' | b'-' | b'.' | b'A'..=b'Z'), "names are normalized");
                hash = hash_step(hash, name[at]);
                at += 1;
            }
            let mut slot = slot_of(hash);
            while table.slots[slot] != 0 {
                let other = entries[table.slots[slot] as usize - 1].name.as_bytes();
                assert!(!same(name, other), "a name is in the table twice");
                slot = (slot + 1) & (SLOTS - 1);
            }
            table.slots[slot] = (index + 1) as u16;
            if entries[index].quick {
                table.quick[letter(name[0])] |= 1 << letter(name[name.len() - 1]);
            }
            index += 1;
        }
        table
    }

    pub fn find(&self, name: &Normal) -> Option<Key> {
        let mut slot = slot_of(name.hash);
        loop {
            let entry = &self.entries[usize::from(self.slots[slot].checked_sub(1)?)];
            if entry.name.as_bytes() == name.bytes() {
                return Some(entry.key);
            }
            slot = (slot + 1) & (SLOTS - 1);
        }
    }

    /// False when no name that matters has this first and last letter.
    #[inline]
    pub fn may_be_quick(&self, first: u8, last: u8) -> bool {
        self.quick[letter(first)] & (1 << letter(last)) != 0
    }
}

const fn same(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    let mut at = 0;
    while at < a.len() {
        if a[at] != b[at] {
            return false;
        }
        at += 1;
    }
    true
}
