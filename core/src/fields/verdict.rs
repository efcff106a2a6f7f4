//! Level and audit from the members of a body: what each member says, and which of them is believed.
//!
//! Level: a field that is called level (or the like) at the top before a number of another convention (`severityNumber`,
//! `levelno`, syslog) before the same in a nested place; of equals the first that is a level. Audit: any member that says so.

use super::names::{Field, Key, LevelKey, Place, lookup_in};
use super::scan::{Kind, Value};
use crate::level::Level;

/// Bytes of a text that can be a level word with blanks, brackets and colours around it.
const LEVEL_TEXT_BYTES_MAX: usize = 64;

const NO_RANK: u8 = u8::MAX;
const NESTED_RANK: u8 = 2;

#[derive(Clone, Copy, Debug)]
pub struct Verdict {
    rank: u8,
    level: Level,
    pub audit: bool,
    /// A `taskId` is given.
    pub task: bool,
    /// GELF (which has a `short_message`) writes syslog's severity into `level`.
    gelf_level: Option<Level>,
    gelf: bool,
}

impl Verdict {
    pub fn new() -> Verdict {
        Verdict {
            rank: NO_RANK,
            level: Level::Info,
            audit: false,
            task: false,
            gelf_level: None,
            gelf: false,
        }
    }

    /// The level that the members named.
    pub fn level(&self) -> Option<Level> {
        match self.rank {
            NO_RANK if self.gelf => self.gelf_level,
            NO_RANK => None,
            _ => Some(self.level),
        }
    }

    /// A member of the body's top.
    #[inline]
    pub fn see_top(&mut self, key: Key, value: &Value<'_>) {
        match key {
            Key::Place(place @ (Place::Fields | Place::Log | Place::Context | Place::Span), text) => {
                if value.kind == Kind::Object {
                    self.see_nested(place, value);
                } else if let Some((field, rank)) = text {
                    self.see(Key::Field(field, rank), value, 0);
                }
            }
            Key::Place(Place::Id(Field::TaskId), _) => self.see_nested(Place::Id(Field::TaskId), value),
            key => self.see(key, value, 0),
        }
    }

    fn see_nested(&mut self, place: Place, value: &Value<'_>) {
        let Some(mut members) = value.members() else { return };
        while let Ok(Some(member)) = members.next_member() {
            match lookup_in(place, member.key) {
                Some(Key::Place(deeper, _)) if place == Place::Fields => {
                    self.see_task_in(deeper, &member.value)
                }
                Some(key) => self.see(key, &member.value, NESTED_RANK),
                None => {}
            }
        }
    }

    /// The one field that is looked for an object deeper.
    fn see_task_in(&mut self, place: Place, value: &Value<'_>) {
        let Some(mut members) = value.members() else { return };
        while let Ok(Some(member)) = members.next_member() {
            if let Some(Key::Field(Field::TaskId, _)) = lookup_in(place, member.key) {
                self.task |= is_id(&member.value);
            }
        }
    }

    fn see(&mut self, key: Key, value: &Value<'_>, base_rank: u8) {
        match key {
            Key::Level(kind) => {
                let rank = base_rank + u8::from(kind != LevelKey::Word);
                if rank < self.rank
                    && let Some(level) = level_of(kind, value)
                {
                    (self.rank, self.level) = (rank, level);
                }
                if kind == LevelKey::Word && base_rank == 0 && self.gelf_level.is_none() {
                    self.gelf_level = number(value).and_then(Level::from_syslog);
                }
            }
            Key::IsAudit => self.audit |= is_true(value),
            Key::Field(Field::Message, rank) => {
                self.gelf |= rank == 1;
                self.audit |= value.text().is_some_and(|text| text.starts_with(b"[AUDIT]"));
            }
            Key::Field(Field::Logger, _) => {
                self.audit |= value.text().is_some_and(|text| text.starts_with(b"audit."));
            }
            Key::Field(Field::TaskId, _) => self.task |= is_id(value),
            _ => {}
        }
    }
}

/// A text or a number that says something.
fn is_id(value: &Value<'_>) -> bool {
    matches!(value.kind, Kind::String | Kind::Scalar) && !value.is_null() && value.raw != b"\"\""
}

fn is_true(value: &Value<'_>) -> bool {
    match value.text() {
        Some(text) => text.raw.eq_ignore_ascii_case(b"true"),
        None => value.raw == b"true",
    }
}

/// The level that a value is, by the convention of its field.
pub fn level_of(kind: LevelKey, value: &Value<'_>) -> Option<Level> {
    match (kind, value.kind) {
        (LevelKey::Word, Kind::String) => level_of_word(value).or_else(|| Level::from_tens(number(value)?)),
        (LevelKey::Word, Kind::Scalar) => Level::from_tens(number(value)?),
        (LevelKey::Word, Kind::Object) => level_of_object(value),
        (LevelKey::OtelNumber, _) => Level::from_otel_severity(i32::try_from(number(value)?).ok()?),
        (LevelKey::Syslog, _) => number(value).and_then(Level::from_syslog).or_else(|| level_of_word(value)),
        (LevelKey::Python, _) => Level::from_python(number(value)?),
        (LevelKey::Word, Kind::Array) => None,
    }
}

/// Loguru: `{"name": "INFO", "no": 20, "icon": ..}`.
fn level_of_object(value: &Value<'_>) -> Option<Level> {
    let mut members = value.members()?;
    while let Ok(Some(member)) = members.next_member() {
        if member.key.raw == b"name" {
            return level_of_word(&member.value);
        }
    }
    None
}

fn level_of_word(value: &Value<'_>) -> Option<Level> {
    let text = value.text()?;
    if text.raw.len() > LEVEL_TEXT_BYTES_MAX {
        return None;
    }
    Level::from_word(text.raw).or_else(|| {
        let bytes = text.bytes();
        let word = crate::level::strip_ansi(bytes.trim_ascii()).trim_ascii();
        // zap's levels below debug: `Level(-2)`.
        if word.starts_with(b"Level(-") {
            return Some(Level::Trace);
        }
        let inner = word.strip_prefix(b"[").and_then(|word| word.strip_suffix(b"]")).unwrap_or(word);
        Level::from_word(inner.trim_ascii())
    })
}

/// A whole number of a few digits, also as a text.
fn number(value: &Value<'_>) -> Option<i64> {
    let raw = value.text().map_or(value.raw, |text| text.raw);
    if raw.is_empty() || raw.len() > 6 || !raw.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(raw.iter().fold(0, |number, digit| number * 10 + i64::from(digit - b'0')))
}
