//! Searches a body for letters that every match has, before the body is parsed.

use crate::tokens;

/// ASCII letters and digits, in any case, as a word or within one.
#[derive(Clone, Debug)]
pub(super) struct Needle {
    lower: Vec<u8>,
    /// The place of its rarest byte, and that byte in both cases.
    rare: usize,
    cases: (u8, u8),
}

impl Needle {
    /// Of the longest that is ASCII; `None` when there is none. All are lower-cased.
    pub fn longest<'w>(words: impl IntoIterator<Item = &'w [u8]>) -> Option<Needle> {
        let is_fit = |word: &&[u8]| !word.is_empty() && word.iter().all(u8::is_ascii_alphanumeric);
        words.into_iter().filter(is_fit).max_by_key(|word| word.len()).map(Needle::new)
    }

    /// `false`: these letters are together in no value of the body. Only `\u` escapes, colours and letters that are written as
    /// numbers can hide them.
    pub fn may_be_in(&self, body: &[u8]) -> bool {
        self.find_in(body).is_some()
            || memchr::memmem::find(body, b"\\u").is_some()
            || bytes_as_numbers(body, self.len()).is_some()
            || (memchr::memchr(tokens::ESC, body).is_some()
                && self.find_in(&tokens::without_colours(body)).is_some())
    }

    fn new(lower: &[u8]) -> Needle {
        let rank = |byte: &u8| b"zqxjkvbwypgfm0123456789uchdlrsniotae".iter().position(|known| known == byte);
        let rare = (0..lower.len()).min_by_key(|&place| rank(&lower[place])).unwrap_or(0);
        let byte = lower[rare];
        Needle { lower: lower.to_vec(), rare, cases: (byte, byte.to_ascii_uppercase()) }
    }

    /// Bytes.
    pub fn letters(&self) -> &[u8] {
        &self.lower
    }

    pub fn len(&self) -> usize {
        self.lower.len()
    }

    /// Where these letters first are.
    pub fn find_in(&self, bytes: &[u8]) -> Option<usize> {
        memchr::memchr2_iter(self.cases.0, self.cases.1, bytes).find_map(|hit| {
            let start = hit.checked_sub(self.rare)?;
            let found = bytes.get(start..start + self.lower.len())?;
            found.eq_ignore_ascii_case(&self.lower).then_some(start)
        })
    }
}

/// Where an array of so many numbers of a byte's size may begin: a text may be written so (journald, Node's `Buffer`).
pub(super) fn bytes_as_numbers(bytes: &[u8], count: usize) -> Option<usize> {
    let skip_blanks =
        |rest: &[u8]| -> usize { rest.iter().take_while(|byte| byte.is_ascii_whitespace()).count() };
    memchr::memchr_iter(b'[', bytes).find(|&at| {
        let rest = &bytes[at + 1..];
        let rest = &rest[skip_blanks(rest)..];
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let rest = &rest[digits..];
        let next = rest.get(skip_blanks(rest));
        (1..=3).contains(&digits) && (next == Some(&b',') || (count < 2 && next == Some(&b']')))
    })
}
