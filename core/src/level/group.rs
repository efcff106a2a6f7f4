//! Reads what stands in brackets at a line's beginning: `[warn]`, `[php:warn]`, `[Server thread/WARN]`, `[2026-11-27 09:45:01 INFO app]`.

use super::calendar::is_time_word;
use super::{Level, words};

/// Bytes of one group; what is longer is text.
const GROUP_BYTES_MAX: usize = 256;
/// Parts of a group that are looked at.
const PARTS_MAX: usize = 16;
/// Words beside the level; what has more is text.
const WORDS_MAX: usize = 2;

pub struct Group<'a> {
    pub content: &'a [u8],
    /// With its brackets.
    pub len: usize,
}

/// The group that `text` begins with; `None` when it does not close. A `{` that begins like JSON is none.
pub fn open(text: &[u8]) -> Option<Group<'_>> {
    let (&open, rest) = text.split_first()?;
    let close = match open {
        b'[' => b']',
        b'(' => b')',
        b'<' => b'>',
        _ => b'}',
    };
    if open == b'{' && rest.trim_ascii_start().starts_with(b"\"") {
        return None;
    }
    let mut depth = 1;
    for (at, &byte) in rest.iter().enumerate().take(GROUP_BYTES_MAX) {
        if byte == close {
            depth -= 1;
            if depth == 0 {
                return Some(Group { content: &rest[..at], len: at + 2 });
            }
        } else if byte == open {
            depth += 1;
        }
    }
    None
}

pub fn has_time(content: &[u8]) -> bool {
    content.windows(5).any(|window| {
        window[0].is_ascii_digit()
            && window[1].is_ascii_digit()
            && matches!(window[2], b':' | b'-' | b'/')
            && window[3].is_ascii_digit()
            && window[4].is_ascii_digit()
    }) || (content.len() >= 10 && content.iter().all(u8::is_ascii_digit))
}

/// What stands for a level where one letter does.
pub fn letter_level(letter: u8) -> Option<Level> {
    if matches!(letter, b'T' | b'V' | b'D' | b'I' | b'W' | b'E' | b'F') {
        Level::from_word(&[letter])
    } else {
        None
    }
}

/// The level that a group names.
pub fn level_of(content: &[u8]) -> Option<Level> {
    let content = content.trim_ascii();
    if let [letter] = content {
        return letter_level(*letter);
    }
    let is_capitals = |word: &[u8]| word.iter().all(|byte| !byte.is_ascii_lowercase());
    if let Some(level) = Level::from_word(content) {
        let stands =
            is_capitals(content) || !words::is_common(content) || content.eq_ignore_ascii_case(b"note");
        return (stands && content.len() >= 3).then_some(level);
    }
    part(content)
}

/// A part that is a level: in capitals anywhere; in any case behind or before a colon or a hash.
fn part(content: &[u8]) -> Option<Level> {
    let is_end = |byte: &u8| matches!(byte, b' ' | b'\t' | b':' | b'/' | b'|' | b',' | b'#');
    let (mut at, mut other_words, mut found) = (0, 0, None);
    for index in 0..PARTS_MAX {
        let rest = content.get(at..)?;
        let len = rest.iter().position(is_end).unwrap_or(rest.len());
        let word = &rest[..len];
        let before = at.checked_sub(1).map(|before| content[before]);
        let after = rest.get(len).copied();
        let joined = |byte: Option<u8>| matches!(byte, Some(b':' | b'#'));
        let capitals = word.iter().all(|byte| !byte.is_ascii_lowercase());
        let level = match word {
            [letter] if index == 0 && after == Some(b' ') && rest.get(2).is_some_and(u8::is_ascii_digit) => {
                letter_level(*letter).or((*letter == b'C').then_some(Level::Error))
            }
            word if word.len() >= 3 && capitals => Level::from_word(word),
            word if word.len() >= 3 && !words::is_common(word) && joined(before) && after.is_none() => {
                Level::from_word(word)
            }
            word if word.len() >= 3 && !words::is_common(word) && joined(before) && after == Some(b',') => {
                Level::from_word(word)
            }
            _ => None,
        };
        if level.is_some() && found.is_none() {
            found = level;
        } else if !word.is_empty() && word.iter().all(u8::is_ascii_alphabetic) && !is_time_word(word) {
            other_words += 1;
        }
        at += len + 1;
        if at > content.len() {
            break;
        }
    }
    if other_words > WORDS_MAX { None } else { found }
}
