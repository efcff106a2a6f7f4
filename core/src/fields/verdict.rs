//! Decides level, audit and task of a body: what each member says, and which member is believed.
//!
//! Level: a word in a field that is called level (or the like) at the top before a number there, before a number of another
//! convention (`severityNumber`, `levelno`, syslog), before the same in a nested place; of equals the first that is a level. A
//! record inside of the record (an object with a level and a message) is believed when its level is the higher one: what
//! wraps it does not know how bad it is. Only where nothing of this is a level the [`super::shape`] of the body is looked at.
//! Audit, task: any member that says so.

use super::key::{Field, Key, LevelKey, Place};
use super::names::lookup_in;
use super::scan::{Kind, Value};
use crate::level::{Level, level_of_word};

const NO_RANK: u8 = u8::MAX;
const NESTED_RANK: u8 = 3;

#[derive(Clone, Copy, Debug)]
pub struct Verdict {
    rank: u8,
    level: Level,
    /// Of a record inside of the record.
    inner: Option<Level>,
    pub audit: bool,
    /// A `taskId` is given.
    pub task: bool,
    /// A text is given as the message.
    pub message: bool,
    /// GELF (which has a `short_message`) writes syslog's severity into `level`.
    gelf_level: Option<Level>,
    gelf: bool,
}

impl Verdict {
    pub fn new() -> Verdict {
        Verdict {
            rank: NO_RANK,
            level: Level::Info,
            inner: None,
            audit: false,
            task: false,
            message: false,
            gelf_level: None,
            gelf: false,
        }
    }

    /// The level that the members named.
    pub fn level(&self) -> Option<Level> {
        self.outer().max(self.inner)
    }

    /// A word at the top named the level: only a record inside of the record can say another.
    #[inline]
    pub fn is_named_first(&self) -> bool {
        self.rank == 0
    }

    /// A record inside of the record is worse than what wraps it says.
    pub fn inner_is_worse(&self) -> bool {
        self.inner > self.outer()
    }

    fn outer(&self) -> Option<Level> {
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
            Key::Place(
                place
                @ (Place::Fields | Place::Log | Place::Context | Place::Span | Place::Id(Field::TaskId)),
                text,
            ) => {
                if value.kind == Kind::Object {
                    self.see_nested(place, value);
                } else if let Some((field, rank)) = text {
                    self.see(Key::Field(field, rank), value, 0);
                }
            }
            Key::Field(Field::Message, _) if value.kind == Kind::Object => {
                self.see_nested(Place::Fields, value)
            }
            key => self.see(key, value, 0),
        }
    }

    /// The members of a nested place.
    pub fn see_nested(&mut self, place: Place, value: &Value<'_>) {
        let Some(mut members) = value.members() else { return };
        let (mut level, mut message) = (None, false);
        while let Ok(Some(member)) = members.next_member() {
            match lookup_in(place, member.key) {
                Some(Key::Place(deeper, _)) if place == Place::Fields => {
                    self.see_task_in(deeper, &member.value)
                }
                Some(key) => {
                    match key {
                        Key::Level(kind @ (LevelKey::Word | LevelKey::Severity)) => {
                            level = level.max(level_of(kind, &member.value));
                        }
                        Key::Field(Field::Message, _) => message |= member.value.kind == Kind::String,
                        _ => {}
                    }
                    self.see(key, &member.value, NESTED_RANK);
                }
                None => {}
            }
        }
        if message {
            self.inner = self.inner.max(level);
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
                let rank = base_rank
                    + match kind {
                        LevelKey::Word | LevelKey::Severity => u8::from(value.kind == Kind::Scalar),
                        LevelKey::OtelNumber | LevelKey::Syslog | LevelKey::Python => 2,
                    };
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
                if let Some(text) = value.text() {
                    self.message = true;
                    self.audit |= text.starts_with(b"[AUDIT]");
                }
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
        (LevelKey::Word, Kind::String) => word(value).or_else(|| Level::from_number(number(value)?)),
        (LevelKey::Word, Kind::Scalar) => Level::from_number(number(value)?),
        (LevelKey::Severity, Kind::String) => word(value).or_else(|| Level::from_severity(number(value)?)),
        (LevelKey::Severity, Kind::Scalar) => Level::from_severity(number(value)?),
        (LevelKey::Word | LevelKey::Severity, Kind::Object) => level_of_object(value),
        (LevelKey::OtelNumber, _) => Level::from_otel_severity(i32::try_from(number(value)?).ok()?),
        (LevelKey::Syslog, _) => number(value).and_then(Level::from_syslog).or_else(|| word(value)),
        (LevelKey::Python, _) => Level::from_python(number(value)?),
        (LevelKey::Word | LevelKey::Severity, Kind::Array) => word(&value.elements()?.next()?.ok()?),
    }
}

/// Loguru's `{"name": "INFO", "no": 20, "icon": ..}` and its like.
fn level_of_object(value: &Value<'_>) -> Option<Level> {
    const NAMES: [&[u8]; 7] = [b"name", b"text", b"label", b"level", b"levelStr", b"severity", b"value"];
    let mut members = value.members()?;
    let mut of_number = None;
    while let Ok(Some(member)) = members.next_member() {
        if !NAMES.contains(&member.key.raw) {
            continue;
        }
        if let Some(level) = word(&member.value) {
            return Some(level);
        }
        of_number = of_number.or_else(|| Level::from_number(number(&member.value)?));
    }
    of_number
}

fn word(value: &Value<'_>) -> Option<Level> {
    let text = value.text()?;
    if text.escaped { level_of_word(&text.bytes()) } else { level_of_word(text.raw) }
}

/// A whole number of a few digits, also as a text, also written as a float.
fn number(value: &Value<'_>) -> Option<i64> {
    let raw = value.text().map_or(value.raw, |text| text.raw);
    let raw = match memchr::memchr(b'.', raw) {
        Some(dot) if raw.len() > dot + 1 && raw[dot + 1..].iter().all(|digit| *digit == b'0') => &raw[..dot],
        _ => raw,
    };
    if raw.is_empty() || raw.len() > 6 || !raw.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(raw.iter().fold(0, |number, digit| number * 10 + i64::from(digit - b'0')))
}
