//! Values that come again and again in the records of a block, as levels, services and the texts of messages do: the tokens of such a
//! value are made once, and then known as a group.

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::Token;

/// Of a value whose tokens are remembered. A longer one hardly comes again.
pub(super) const TEXT_BYTES_MAX: usize = 64;
/// Values that are looked for, a power of two.
const SLOTS: usize = 1 << 10;

/// What takes the tokens of a record.
pub trait TakeTokens {
    fn token(&mut self, token: Token);

    /// All tokens of a group, which has always the same until the [`RepeatedValues`] are cleared.
    fn group(&mut self, group: usize, tokens: &[Token]);
}

/// The values of a block's records so far. A value that came twice is a group.
#[derive(Debug, Default)]
pub struct RepeatedValues {
    slots: Vec<Slot>,
    groups: Vec<Group>,
    tokens: Vec<Token>,
    texts: Vec<u8>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    /// Of a value that came; 0: none did.
    hash: u64,
    /// One more than its group's number; 0: it came once.
    group: u32,
}

#[derive(Debug)]
struct Group {
    key: Option<KeyHash>,
    texts: std::ops::Range<usize>,
    tokens: std::ops::Range<usize>,
}

/// What a value's tokens depend on, of its key: the hash and the length.
pub(super) type KeyHash = (u64, usize);

/// What is known of a value.
pub(super) enum Known<'a> {
    Group(usize, &'a [Token]),
    /// It came before: its tokens are worth remembering, under this hash.
    Again(u64),
    Nothing,
}

impl RepeatedValues {
    /// Values whose tokens are remembered.
    pub const GROUPS_MAX: usize = 512;

    /// For the next block: all are forgotten.
    pub fn clear(&mut self) {
        self.slots.clear();
        self.groups.clear();
        self.tokens.clear();
        self.texts.clear();
    }

    pub(super) fn look(&mut self, key: Option<KeyHash>, text: &[u8]) -> Known<'_> {
        if self.slots.is_empty() {
            self.slots.resize(SLOTS, Slot::default());
        }
        let (seed, len) = key.unwrap_or((0, usize::MAX));
        let hash = xxh3_64_with_seed(text, seed.wrapping_add(len as u64)).max(1);
        let has_room = self.groups.len() < Self::GROUPS_MAX;
        let slot = &mut self.slots[hash as usize % SLOTS];
        match slot.group.checked_sub(1) {
            Some(number) if slot.hash == hash => {
                let group = &self.groups[number as usize];
                if group.key == key && self.texts[group.texts.clone()] == *text {
                    return Known::Group(number as usize, &self.tokens[group.tokens.clone()]);
                }
                Known::Nothing
            }
            // What is a group stays one.
            Some(_) => Known::Nothing,
            None if slot.hash == hash && has_room => Known::Again(hash),
            None => {
                slot.hash = hash;
                Known::Nothing
            }
        }
    }

    /// Remembers the tokens of a value that [came again](Known::Again), under its hash: a new group.
    pub(super) fn remember(
        &mut self,
        hash: u64,
        key: Option<KeyHash>,
        text: &[u8],
        tokens: impl FnOnce(&mut Vec<Token>),
    ) -> (usize, &[Token]) {
        let number = self.groups.len();
        let (texts_from, tokens_from) = (self.texts.len(), self.tokens.len());
        self.texts.extend_from_slice(text);
        tokens(&mut self.tokens);
        let group =
            Group { key, texts: texts_from..self.texts.len(), tokens: tokens_from..self.tokens.len() };
        let of_group = group.tokens.clone();
        self.groups.push(group);
        self.slots[hash as usize % SLOTS] = Slot { hash, group: number as u32 + 1 };
        (number, &self.tokens[of_group])
    }
}
