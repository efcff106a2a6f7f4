//! Splits text into words, as people read it: runs of letters and digits, without regard to case.
//!
//! - Everything else separates, `_` too; words of CamelCase stay whole.
//! - Letters and digits are Unicode's, in NFC; a mark belongs to the letter before it. An emoji or arrow is a word of its own.
//! - A run in a script that is written without spaces comes as its characters, so that any part of it can be found.
//! - Terminal colours are not read: `re` and `set` with a colour between them are one word.
//! - `\n` (or rsyslog's `#012`) that is written out ends a word; since it may be a folder's name behind a backslash too, the word
//!   with the letter is there as well. `\u00e9` that is written out is the character, and a colour that is written out none.
//! - Bytes that are not UTF-8 separate. An ASCII word is in a text only if its ASCII letters are (the Kelvin sign is no K).
//!
//! Plain ASCII, which is nearly all there is, never leaves [`for_each`]; the rest of a text goes to [`super::reading`] from
//! the first byte on that is not.

use super::reading;
pub use super::reading::Kind;

/// Which bytes separate (0), are a word's byte as they are (1), are upper-case ASCII (2), or need a closer look (4).
const CLASS: [u8; 256] = {
    let mut class = [0u8; 256];
    let mut byte = 0;
    while byte < 256 {
        class[byte] = match byte as u8 {
            b'0'..=b'9' | b'a'..=b'z' => 1,
            b'A'..=b'Z' => 2,
            b'\\' | b'#' | b'^' | reading::ESC | 0x80..=0xff => CLOSER,
            _ => 0,
        };
        byte += 1;
    }
    class
};
const CLOSER: u8 = 4;

/// Calls `each` with every word of `text`, lower-cased, in order.
pub fn for_each(text: &[u8], each: &mut impl FnMut(Kind, &[u8])) {
    let mut small = [0u8; 64];
    let mut at = 0;
    while at < text.len() {
        match CLASS[usize::from(text[at])] {
            0 => {
                at += 1;
                continue;
            }
            CLOSER if reading::is_plain(&text[at..]) => {
                at += 1;
                continue;
            }
            CLOSER => return reading::for_each(&text[at..], each),
            _ => {}
        }
        let start = at;
        let mut kinds = 0u8;
        while at < text.len() {
            let class = CLASS[usize::from(text[at])];
            if class & 3 == 0 {
                // The word may go on behind what has to be looked at.
                if class == CLOSER && !reading::is_plain(&text[at..]) {
                    return reading::for_each(&text[start..], each);
                }
                break;
            }
            kinds |= class;
            at += 1;
        }
        let word = &text[start..at];
        if kinds == 1 {
            each(Kind::Word, word);
        } else if let Some(lower) = small.get_mut(..word.len()) {
            lower.copy_from_slice(word);
            lower.make_ascii_lowercase();
            each(Kind::Word, lower);
        } else {
            each(Kind::Word, &word.to_ascii_lowercase());
        }
    }
}

/// Whether the character can be of a word, or of a run without spaces.
pub fn is_of_word(c: char) -> bool {
    reading::is_of_word(c)
}

/// `text` in lower case and in NFC, as its words would be, everything else as it is; bytes that are not UTF-8 become U+FFFD.
pub fn lower(text: &[u8]) -> String {
    if text.is_ascii() {
        return String::from_utf8_lossy(text).to_ascii_lowercase();
    }
    let mut out = String::with_capacity(text.len());
    reading::fold(&String::from_utf8_lossy(text), &mut out);
    out
}

/// All words of `text`.
pub fn of(text: &[u8]) -> Vec<Vec<u8>> {
    let mut words = Vec::new();
    for_each(text, &mut |_, word| words.push(word.to_vec()));
    words
}
