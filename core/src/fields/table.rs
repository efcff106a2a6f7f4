//! A hash table of names that is built when the program is compiled.

use super::key::Key;
use super::scan::{HIGHS, ONES, Text, zero_bytes};

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

/// A key in lower case and without `_`, `-` and `.`.
#[derive(Clone, Copy, Debug)]
pub struct Normal {
    bytes: [u8; KEY_BYTES_MAX],
    len: usize,
}

/// The first and the last eight bytes of a normalized name, and its length. Of a name of up to 16 bytes this is all of it.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Ends {
    first: u64,
    last: u64,
    len: usize,
}

/// Bytes of a name that its [`Ends`] tell whole.
const ENDS_BYTES: usize = 16;

impl Ends {
    const fn of(bytes: &[u8; KEY_BYTES_MAX], len: usize) -> Ends {
        Ends { first: word_at(bytes, 0), last: word_at(bytes, len.saturating_sub(8)), len }
    }

    /// Of a key of up to 16 bytes without `_`, `-` and `.`, without a copy of it: a copy byte by byte that is read in words
    /// stalls the processor for longer than all else takes here.
    #[inline]
    fn of_plain(key: &[u8]) -> Option<Ends> {
        let len = key.len();
        let (first, last) = match key {
            [] => (0, 0),
            _ if len > ENDS_BYTES => return None,
            [.., _, _, _, _, _, _, _, _] => {
                (u64::from_le_bytes(*key.first_chunk()?), u64::from_le_bytes(*key.last_chunk()?))
            }
            [.., _, _, _, _] => {
                let low = u64::from(u32::from_le_bytes(*key.first_chunk()?));
                let high = u64::from(u32::from_le_bytes(*key.last_chunk()?));
                let word = low | high << ((len - 4) * 8);
                (word, word)
            }
            [first, ..] => {
                let (middle, last) = (len / 2, len - 1);
                let word = u64::from(*first)
                    | u64::from(key[middle]) << (middle * 8)
                    | u64::from(key[last]) << (last * 8);
                (word, word)
            }
        };
        if has_separator(first) || has_separator(last) {
            return None;
        }
        Some(Ends { first: lower(first), last: lower(last), len })
    }

    const fn slot(self) -> usize {
        let mixed =
            (self.first ^ self.last.rotate_left(29) ^ self.len as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mixed >> 40) as usize & (SLOTS - 1)
    }
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

#[inline]
fn has_separator(word: u64) -> bool {
    [b'_', b'-', b'.'].into_iter().any(|byte| zero_bytes(word ^ (ONES * u64::from(byte))) != 0)
}

/// Eight bytes in lower case; those that are not ASCII stay.
#[inline]
fn lower(word: u64) -> u64 {
    let letters = word & !HIGHS;
    let from_a = letters + ONES * u64::from(0x80 - b'A');
    let above_z = letters + ONES * u64::from(0x7f - b'Z');
    word | (((from_a ^ above_z) & !word & HIGHS) >> 2)
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
        Some(Normal { bytes, len })
    }

    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

pub struct Table<const N: usize> {
    entries: &'static [Entry],
    ends: [Ends; N],
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
        let ends = [Ends { first: 0, last: 0, len: 0 }; N];
        let mut table = Table { entries, ends, slots: [0; SLOTS], quick: [0; QUICK_BITS / 64] };
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
            table.ends[index] = Ends::of(&bytes, name.len());
            let mut slot = table.ends[index].slot();
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

    pub fn find(&self, key: Text<'_>) -> Option<&'static Entry> {
        if !key.escaped
            && let Some(ends) = Ends::of_plain(key.raw)
        {
            return self.find_ends(ends, |_| true);
        }
        let normal = Normal::of(key)?;
        let ends = Ends::of(&normal.bytes, normal.len);
        self.find_ends(ends, |name| normal.len <= ENDS_BYTES || name.as_bytes() == normal.bytes())
    }

    #[inline]
    fn find_ends(&self, ends: Ends, same: impl Fn(&str) -> bool) -> Option<&'static Entry> {
        let mut slot = ends.slot();
        loop {
            let index = usize::from(self.slots[slot].checked_sub(1)?);
            if self.ends[index] == ends && same(self.entries[index].name) {
                return Some(&self.entries[index]);
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::names::{NAMES, TABLE};
    use super::*;

    /// The name that a key is, by the rule itself.
    fn named(key: &[u8]) -> Option<&'static str> {
        let is_kept = |byte: &&u8| !matches!(byte, b'_' | b'-' | b'.');
        let normal: Vec<u8> = key.iter().filter(is_kept).map(u8::to_ascii_lowercase).collect();
        let name = NAMES.iter().map(|entry| entry.name).find(|name| name.as_bytes() == normal)?;
        (key.len() <= KEY_BYTES_MAX).then_some(name)
    }

    fn found(key: &[u8]) -> Option<&'static str> {
        TABLE.find(Text { raw: key, escaped: false }).map(|entry| entry.name)
    }

    #[test]
    fn every_name_is_found_in_every_spelling() {
        for entry in NAMES {
            let name = entry.name;
            assert_eq!(found(name.as_bytes()), Some(name));
            assert_eq!(found(name.to_ascii_uppercase().as_bytes()), Some(name));
            for at in 0..=name.len() {
                let parted = format!("{}_{}", &name[..at], &name[at..]);
                assert_eq!(found(parted.as_bytes()), named(parted.as_bytes()), "{parted}");
                let cut = &name.as_bytes()[..at];
                assert_eq!(found(cut), named(cut), "{name} cut at {at}");
            }
        }
    }

    proptest! {
        #[test]
        fn what_is_found_is_what_the_rule_names(
            name in prop::sample::select(NAMES.iter().map(|entry| entry.name).collect::<Vec<_>>()),
            at in any::<prop::sample::Index>(),
            byte in any::<u8>(),
            insert in any::<bool>(),
        ) {
            let mut key = name.as_bytes().to_vec();
            let at = at.index(key.len());
            if insert { key.insert(at, byte) } else { key[at] = byte }
            prop_assert_eq!(found(&key), named(&key));
        }

        #[test]
        fn any_key_is_read(key in prop::collection::vec(any::<u8>(), 0..64)) {
            prop_assert_eq!(found(&key), named(&key));
        }
    }
}
