//! Guesses the level of a body that names it nowhere, by the shape of the body:
//!
//! - an object in it that has a level and a message is the record (whatever wraps it);
//! - `s` (MongoDB) and `l`, beside a message, hold a level's letter or word;
//! - a message that is JSON in a text has its own level;
//! - a time, a message and `v` are klog's information, a time, a message and `err` (or a stack) without `v` its error;
//! - `type`, `label` (MySQL) and `status`, beside a message, may say that it is a warning or an error;
//! - a type of error with its message or its stack is an error.

use super::key::{Field, Key, Place};
use super::names::{ERROR_MESSAGE_RANK, lookup, lookup_in};
use super::scan::{Kind, Member, Members, Value};
use super::verdict::{Verdict, level_of};
use crate::level::Level;

/// The level, and what the records inside say of audit and task, for `verdict`.
pub fn level_of_shape<'a>(members: impl Iterator<Item = Member<'a>>, verdict: &mut Verdict) -> Option<Level> {
    let mut shape = Shape::default();
    for member in members {
        shape.see(&member, verdict);
    }
    shape.level(verdict.message)
}

/// An object with a level and a message of its own.
pub fn is_record(value: &Value<'_>) -> bool {
    let Some(mut members) = value.members() else { return false };
    let (mut level, mut message) = (false, false);
    while let Ok(Some(member)) = members.next_member() {
        match lookup_in(Place::Fields, member.key) {
            Some(Key::Level(kind)) => level |= level_of(kind, &member.value).is_some(),
            Some(Key::Field(Field::Message, 0..=2)) => message |= member.value.kind == Kind::String,
            _ => {}
        }
    }
    level && message
}

/// Whether a member is such a record in a place that nobody knows.
pub fn is_inner_record(member: &Member<'_>) -> bool {
    member.value.kind == Kind::Object && lookup(member.key).is_none() && is_record(&member.value)
}

#[derive(Default)]
struct Shape {
    inner: Option<Level>,
    letter: Option<Level>,
    text: Option<Level>,
    said: Option<Level>,
    time: bool,
    verbosity: bool,
    error: bool,
    error_type: bool,
    error_said: bool,
}

impl Shape {
    fn see(&mut self, member: &Member<'_>, verdict: &mut Verdict) {
        let Member { key, value } = member;
        match key.raw {
            b"s" | b"l" | b"S" | b"L" => self.letter = self.letter.or_else(|| letter(value)),
            b"v" => self.verbosity |= value.kind == Kind::Scalar && value.raw.iter().all(u8::is_ascii_digit),
            b"type" | b"label" | b"status" => self.said = self.said.or_else(|| said(value)),
            b"ts" | b"time" | b"timestamp" | b"@timestamp" | b"t" | b"datetime" => self.time = true,
            _ => {}
        }
        match lookup(*key) {
            Some(Key::Field(Field::Message, rank)) if rank < ERROR_MESSAGE_RANK => self.see_text(value),
            Some(Key::Place(Place::Log, _)) => self.see_text(value),
            Some(Key::Field(Field::Message, _)) => self.error_said |= says(value),
            Some(Key::Field(Field::ErrorType, _)) => self.error_type |= says(value),
            Some(Key::Field(Field::ErrorStack, _)) => {
                self.error_said |= says(value);
                self.error |= says(value);
            }
            Some(Key::Place(Place::Error, _)) => self.error |= says(value),
            None if is_inner_record(member) => {
                let mut inner = Verdict::new();
                inner.see_nested(Place::Fields, value);
                self.inner = self.inner.max(inner.level());
                verdict.audit |= inner.audit;
                verdict.task |= inner.task;
            }
            _ => {}
        }
    }

    /// JSON in a text.
    fn see_text(&mut self, value: &Value<'_>) {
        let Some(text) = value.text().filter(|text| text.starts_with(b"{")) else { return };
        let text = text.bytes();
        let Some(mut members) = Members::open(&text) else { return };
        let mut inner = Verdict::new();
        loop {
            match members.next_member() {
                Ok(Some(member)) => {
                    if let Some(key) = lookup(member.key) {
                        inner.see_top(key, &member.value);
                    }
                }
                Ok(None) => break self.text = self.text.max(inner.level()),
                Err(_) => break,
            }
        }
    }

    fn level(&self, message: bool) -> Option<Level> {
        let named = self.inner.or(self.letter.filter(|_| message)).or(self.text);
        named.or_else(|| {
            if self.time && message && (self.verbosity || self.error) {
                return Some(if self.verbosity { Level::Info } else { Level::Error });
            }
            let thrown = self.error_type && self.error_said;
            if thrown { Some(Level::Error) } else { self.said.filter(|_| message) }
        })
    }
}

/// Not null, not empty, not false, not zero.
fn says(value: &Value<'_>) -> bool {
    !matches!(value.raw, b"null" | b"\"\"" | b"{}" | b"[]" | b"false" | b"0")
}

/// A level of WARN and above in a field that may say something else.
fn said(value: &Value<'_>) -> Option<Level> {
    let word = value.text()?.raw;
    Level::from_word(word).filter(|level| word.len() > 3 && *level >= Level::Warn)
}

fn letter(value: &Value<'_>) -> Option<Level> {
    match value.text()?.raw {
        [letter @ (b'F' | b'E' | b'W' | b'I' | b'D')] => Level::from_word(&[*letter]),
        [b'D', b'1'..=b'5'] => Some(Level::Debug),
        word if word.len() >= 3 => Level::from_word(word),
        _ => None,
    }
}
