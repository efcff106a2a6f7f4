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

/// A hash of a normalized name's first and last eight bytes and its length.
const fn hash_of(bytes: &[u8; KEY_BYTES_MAX], len: usize) -> u32 {
    let first = word_at(bytes, 0);
    let last = word_at(bytes, len.saturating_sub(8));
    let mixed = (first ^ last.rotate_left(29) ^ len as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 40) as u32
}

const fn word_at(bytes: &[u8; KEY_BYTES_MAX], at: usize) -> u64 {
    let mut word = [0; 8];
    let mut index = 0;
    while index < 8 {
        word[index] = bytes[at + index];
        index += 1;
    }
    u64::from_le_bytes(word)
}

const fn slot_of(hash: u32) -> usize {
    (hash as usize) & (SLOTS - 1)
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
        let mut bytes = [0; KEY_BYTES_MAX];
        let mut len = 0;
        for byte in key {
            // Written always and kept by the length: without a branch that nothing predicts.
            bytes[len] = byte.to_ascii_lowercase();
            len += usize::from(!matches!(byte, b'_' | b'-' | b'.'));
        }
        if len < key.len() {
            bytes[len] = 0;
        }
        Some(Normal { bytes, len, hash: hash_of(&bytes, len) })
    }

    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

pub struct Table<const N: usize> {
    entries: &'static [Entry],
    /// Index + 1 of the entry; 0 is empty.
    slots: [u16; SLOTS],
    /// One bit for the first, second and last letter of each name that level or audit can depend on.
    quick: [u64; QUICK_BITS / 64],
}

const QUICK_BITS: usize = 8192;

/// The bit of three letters, in any case.
#[inline]
const fn quick_bit(first: u8, second: u8, last: u8) -> usize {
    let letters = ((first | 0x20) as u32) << 16 | ((second | 0x20) as u32) << 8 | (last | 0x20) as u32;
    (letters.wrapping_mul(0x9e37_79b1) >> (32 - QUICK_BITS.trailing_zeros())) as usize
}

impl<const N: usize> Table<N> {
    /// Fails to compile when a name is there twice or is not normalized.
    pub const fn new(entries: &'static [Entry]) -> Table<N> {
        assert!(N * 4 < SLOTS && N < u16::MAX as usize && N == entries.len());
        let mut table = Table { entries, slots: [0; SLOTS], quick: [0; QUICK_BITS / 64] };
        let mut index = 0;
        while index < N {
            let name = entries[index].name.as_bytes();
            let mut bytes = [0; KEY_BYTES_MAX];
            let mut at = 0;
            while at < name.len() {
                assert!(!matches!(name[at], b'_' | b'-' | b'.' | b'A'..=b'Z'), "names are normalized");
                bytes[at] = name[at];
                at += 1;
            }
            let mut slot = slot_of(hash_of(&bytes, name.len()));
            while table.slots[slot] != 0 {
                let other = entries[table.slots[slot] as usize - 1].name.as_bytes();
                assert!(!same(name, other), "a name is in the table twice");
                slot = (slot + 1) & (SLOTS - 1);
            }
            table.slots[slot] = (index + 1) as u16;
            if entries[index].quick {
                let bit = quick_bit(name[0], name[1], name[name.len() - 1]);
                table.quick[bit / 64] |= 1 << (bit % 64);
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

    /// False when no name that matters has these first, second and last letters.
    #[inline]
    pub fn may_be_quick(&self, first: u8, second: u8, last: u8) -> bool {
        let bit = quick_bit(first, second, last);
        self.quick[bit / 64] & (1 << (bit % 64)) != 0
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
