//! Phrases: words that follow each other in a value.

use crate::tokens::values::{self, Visit};
use crate::tokens::words;

/// One or more words, lower-cased.
#[derive(Debug)]
pub(super) struct Phrase {
    pub words: Vec<Vec<u8>>,
    needle: Option<Needle>,
}

impl Phrase {
    /// `None`: there is no word in the text.
    pub fn new(text: &str) -> Option<Phrase> {
        let words = words::of(text.as_bytes());
        let needle = Needle::longest(&words);
        (!words.is_empty()).then_some(Phrase { words, needle })
    }

    /// A word that is in every body that holds the phrase.
    pub fn needle(&self) -> Option<&Needle> {
        self.needle.as_ref()
    }

    pub fn is_in_body(&self, body: &[u8]) -> bool {
        if self.needle.as_ref().is_some_and(|needle| !needle.may_be_a_word_of(body)) {
            return false;
        }
        let mut search = Search { phrase: self, found: false };
        values::visit(body, &mut search);
        search.found
    }

    pub fn is_in_text(&self, text: &str) -> bool {
        let mut search = Search { phrase: self, found: false };
        search.value(None, text.as_bytes());
        search.found
    }
}

struct Search<'a> {
    phrase: &'a Phrase,
    found: bool,
}

impl Visit for Search<'_> {
    fn value(&mut self, _: Option<&[u8]>, text: &[u8]) {
        if self.found {
            return;
        }
        let wanted = &self.phrase.words;
        if let [one] = wanted.as_slice() {
            return words::for_each(text, &mut |word| self.found |= word == one.as_slice());
        }
        // How many words of the phrase precede, for each beginning that still holds.
        let mut open: Vec<usize> = Vec::new();
        words::for_each(text, &mut |word| {
            open.push(0);
            open.retain_mut(|matched| {
                *matched += 1;
                wanted[*matched - 1] == word
            });
            self.found |= open.contains(&wanted.len());
            open.retain(|&matched| matched < wanted.len());
        });
    }
}

/// An ASCII word to look for in any case before a body is read.
#[derive(Debug)]
pub(super) struct Needle {
    lower: Vec<u8>,
    /// The place of its rarest byte, and that byte in both cases.
    rare: usize,
    cases: (u8, u8),
}

impl Needle {
    /// Of the longest ASCII word; `None` when there is none.
    pub fn longest(words: &[Vec<u8>]) -> Option<Needle> {
        words
            .iter()
            .filter(|word| word.is_ascii())
            .max_by_key(|word| word.len())
            .map(|word| Needle::new(word))
    }

    /// `false`: the word is in no value of the body. Only `\u` escapes can hide its letters.
    pub fn may_be_a_word_of(&self, body: &[u8]) -> bool {
        self.find_in(body).is_some() || memchr::memmem::find(body, b"\\u").is_some()
    }

    fn new(lower: &[u8]) -> Needle {
        let rank =
            |byte: &u8| b"zqxjkvbw_ypgfm0123456789uchdlrsniotae".iter().position(|known| known == byte);
        let rare = (0..lower.len()).min_by_key(|&place| rank(&lower[place])).unwrap_or(0);
        let byte = lower[rare];
        Needle { lower: lower.to_vec(), rare, cases: (byte, byte.to_ascii_uppercase()) }
    }

    /// Bytes.
    pub fn len(&self) -> usize {
        self.lower.len()
    }

    /// Where these letters first are, in any case, as a word or within one.
    pub fn find_in(&self, bytes: &[u8]) -> Option<usize> {
        memchr::memchr2_iter(self.cases.0, self.cases.1, bytes).find_map(|hit| {
            let start = hit.checked_sub(self.rare)?;
            let found = bytes.get(start..start + self.lower.len())?;
            found.eq_ignore_ascii_case(&self.lower).then_some(start)
        })
    }
}
