//! Splits an expression into blanks, quoted text, pieces without quotation marks, and operators.

use super::FilterError;
use crate::limits::FILTER_CHARACTERS_MAX;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Op {
    Has,
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

pub(super) fn error(at: usize, message: impl Into<String>) -> FilterError {
    FilterError { at, message: message.into() }
}

/// What to write so that `text` is looked for as it stands.
pub fn in_quotes(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// The characters, and how many of them were read.
pub(super) struct Cursor {
    chars: Vec<char>,
    pub at: usize,
}

impl Cursor {
    pub fn new(text: &str) -> Result<Cursor, FilterError> {
        let chars: Vec<char> = text.chars().collect();
        if chars.len() > FILTER_CHARACTERS_MAX {
            return Err(error(
                FILTER_CHARACTERS_MAX,
                format!("an expression has at most {FILTER_CHARACTERS_MAX} characters"),
            ));
        }
        Ok(Cursor { chars, at: 0 })
    }

    pub fn peek(&self) -> Option<char> {
        self.peek_at(0)
    }

    pub fn peek_at(&self, ahead: usize) -> Option<char> {
        self.chars.get(self.at + ahead).copied()
    }

    pub fn skip_spaces(&mut self) {
        while self.peek().is_some_and(char::is_whitespace) {
            self.at += 1;
        }
    }

    pub fn since(&self, start: usize) -> String {
        self.chars[start..self.at].iter().collect()
    }

    /// What stands next up to a blank, a parenthesis or a quotation mark; empty where there is nothing such.
    pub fn bare(&self) -> String {
        let rest = self.chars.get(self.at..).unwrap_or_default();
        rest.iter().take_while(|&&c| !ends_bare(c)).collect()
    }

    /// The whole of a value without quotation marks: times and addresses need none. Up to a blank or a parenthesis.
    pub fn bare_value(&mut self) -> String {
        let start = self.at;
        while self.peek().is_some_and(|c| !c.is_whitespace() && !matches!(c, '(' | ')')) {
            self.at += 1;
        }
        self.since(start)
    }

    /// The quoted text that begins here, if one does; then it is read. Either kind of double marks, or single ones that end
    /// before a blank.
    pub fn quoted(&mut self) -> Result<Option<String>, FilterError> {
        let close = match self.peek() {
            Some('"') => '"',
            Some('\u{201c}' | '\u{201d}' | '\u{201e}') => '\u{201d}',
            Some('\'') if self.has_closing_single() => '\'',
            _ => return Ok(None),
        };
        let start = self.at;
        let mut text = String::new();
        self.at += 1;
        while let Some(c) = self.peek() {
            self.at += 1;
            match c {
                '\u{201c}' if close == '\u{201d}' => return Ok(Some(text)),
                '\'' if close == '\'' && !self.peek().is_none_or(ends_single) => text.push(c),
                c if c == close => return Ok(Some(text)),
                '\\' if self.peek().is_some_and(|next| next == close || next == '\\') => {
                    text.extend(self.peek());
                    self.at += 1;
                }
                c => text.push(c),
            }
        }
        Err(error(start, "this quotation mark is never closed"))
    }

    fn has_closing_single(&self) -> bool {
        let rest = self.chars.get(self.at + 1..).unwrap_or_default();
        rest.iter()
            .enumerate()
            .any(|(place, &c)| c == '\'' && place > 0 && rest.get(place + 1).copied().is_none_or(ends_single))
    }

    /// A word that is an operator stands next: it is not a part of a longer one.
    pub fn is_at(&self, word: &str) -> bool {
        self.bare() == word
    }

    pub fn skip(&mut self, word: &str) -> bool {
        let is_there = self.is_at(word);
        if is_there {
            self.at += word.chars().count();
        }
        is_there
    }

    pub fn op(&self) -> Option<(Op, usize)> {
        let two: String = self.chars.get(self.at..).unwrap_or_default().iter().take(2).collect();
        op_at(&two)
    }
}

fn ends_bare(c: char) -> bool {
    c.is_whitespace() || matches!(c, '(' | ')' | '"' | '\u{201c}' | '\u{201d}' | '\u{201e}')
}

fn ends_single(c: char) -> bool {
    c.is_whitespace() || matches!(c, ')' | ',')
}

/// The operator at the beginning, and its characters.
pub(super) fn op_at(text: &str) -> Option<(Op, usize)> {
    let mut chars = text.chars();
    let first = chars.next()?;
    let second = chars.next() == Some('=');
    Some(match first {
        ':' => (Op::Has, 1),
        '=' => (Op::Equal, if second { 2 } else { 1 }),
        '!' if second => (Op::NotEqual, 2),
        '<' if second => (Op::LessOrEqual, 2),
        '<' => (Op::Less, 1),
        '>' if second => (Op::GreaterOrEqual, 2),
        '>' => (Op::Greater, 1),
        _ => return None,
    })
}
