//! Remembers how each column of a source's blocks was written in the fewest bytes, so that few blocks pay for trying all ways. A choice is
//! only a hint: bodies come back unchanged with every choice, and where it does not fit, the column is tried again.

use std::collections::HashMap;

use foldhash::fast::RandomState;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// At which places a text is cut into constant text and values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Json,
    /// At words with digits.
    Numbers,
    /// At all words.
    Words,
    /// At words with digits, and at others that few of the values have.
    Templates,
    /// At what stands between blanks and few of the values have.
    Fields,
    /// At digits, also within words.
    Digits,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Choice {
    Texts,
    /// `is_recent`: places by recency.
    List {
        is_recent: bool,
    },
    /// The column's first byte.
    Typed(u8),
    Split(Way),
}

/// After so many uses of a choice its column is tried again, because what a program writes changes.
const USES_MAX: u32 = 64;
/// The most columns that are remembered, of all sources together, about 40 bytes each; beyond that all are forgotten.
const COLUMNS_MAX: usize = 32_768;
/// If the blocks of a source become more than a quarter larger than when they were tried, the source is tried again, at most once in so
/// many blocks.
const BLOCKS_MIN: u32 = 8;

/// The remembered choices of the columns of many sources.
#[derive(Debug, Default)]
pub struct Choices {
    columns: HashMap<u64, Remembered, RandomState>,
    sources: HashMap<u64, Source, RandomState>,
    /// How often all ways of a column were compared.
    #[cfg(test)]
    pub(super) trials: usize,
}

#[derive(Debug)]
struct Remembered {
    choice: Choice,
    uses: u32,
}

#[derive(Debug, Default)]
struct Source {
    /// How often the source was tried again.
    generation: u64,
    blocks: u32,
    /// Packed bytes of a thousand, of the block that was tried.
    permille: Option<u64>,
}

impl Choices {
    /// The key of the root of a block of this source.
    pub(super) fn begin(&mut self, source: u64) -> u64 {
        if self.columns.len() > COLUMNS_MAX {
            self.columns.clear();
            self.sources.clear();
        }
        below(source, self.sources.entry(source).or_default().generation)
    }

    /// `None`: it has to be tried.
    pub(super) fn of(&mut self, key: u64) -> Option<Choice> {
        let remembered = self.columns.get_mut(&key)?;
        remembered.uses += 1;
        (remembered.uses < USES_MAX).then_some(remembered.choice)
    }

    pub(super) fn remember(&mut self, key: u64, choice: Choice) {
        self.columns.insert(key, Remembered { choice, uses: 0 });
    }

    /// A block of this source is written.
    pub(super) fn end(&mut self, source: u64, raw_bytes: usize, packed_bytes: usize) {
        let Some(of_source) = self.sources.get_mut(&source) else { return };
        let permille = (packed_bytes as u64 * 1000) / (raw_bytes as u64).max(1);
        of_source.blocks += 1;
        match of_source.permille {
            None => of_source.permille = Some(permille),
            Some(tried) if permille * 4 > tried * 5 + 20 && of_source.blocks >= BLOCKS_MIN => {
                *of_source = Source { generation: of_source.generation + 1, ..Source::default() };
            }
            Some(_) => {}
        }
    }
}

/// The key of something below a column.
pub(super) fn below(key: u64, what: u64) -> u64 {
    xxh3_64_with_seed(&what.to_le_bytes(), key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_longer_fits_is_forgotten() {
        let mut choices = Choices::default();
        let key = choices.begin(7);
        assert_eq!(choices.of(key), None);
        choices.remember(key, Choice::Texts);
        for block in 0..USES_MAX - 1 {
            assert_eq!(choices.of(key), Some(Choice::Texts), "block {block}");
            choices.end(7, 100_000, 10_000);
        }
        assert_eq!(choices.of(key), None, "it is tried anew");
        choices.remember(key, Choice::Typed(4));
        assert_eq!(choices.of(key), Some(Choice::Typed(4)));
        // A quarter worse, and something for small ones.
        choices.end(7, 100_000, 12_800);
        assert_eq!(choices.begin(7), key);
        choices.end(7, 100_000, 13_200);
        let anew = choices.begin(7);
        assert!(anew != key && choices.of(anew).is_none());
        // Not again at once, whatever comes.
        choices.end(7, 100_000, 20_000);
        choices.end(7, 100_000, 90_000);
        assert_eq!(choices.begin(7), anew);
        assert_ne!(choices.begin(8), anew, "another source");
    }

    #[test]
    fn memory_is_bounded() {
        let mut choices = Choices::default();
        for source in 0..3 * COLUMNS_MAX as u64 {
            let key = choices.begin(source);
            choices.remember(key, Choice::Texts);
            choices.remember(below(key, 1), Choice::Split(Way::Words));
        }
        assert!(choices.columns.len() <= COLUMNS_MAX + 2 && choices.sources.len() <= COLUMNS_MAX);
    }
}
