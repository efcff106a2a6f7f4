//! All fields of a body.

use std::borrow::Cow;

use super::Field;
use crate::level::Level;

/// The fields of one body. Values are texts as the application meant them (JSON strings unescaped, numbers as written).
#[derive(Clone, Debug)]
pub struct Fields<'a> {
    pub level: Level,
    /// Whether the body names its level; else it is INFO by default.
    pub level_given: bool,
    pub audit: bool,
    /// The body is a JSON object; else it is text and its message is all of it.
    pub json: bool,
    values: [Option<Cow<'a, str>>; Field::ALL.len()],
    data: Vec<Datum<'a>>,
}

/// One member of `data`.
#[derive(Clone, Debug, PartialEq)]
pub struct Datum<'a> {
    pub key: Cow<'a, str>,
    /// JSON.
    pub value: Cow<'a, str>,
}

impl<'a> Fields<'a> {
    pub fn get(&self, field: Field) -> Option<&str> {
        self.values[field as usize].as_deref()
    }

    /// What the application sent beside the known fields, in its order.
    pub fn data(&self) -> &[Datum<'a>] {
        &self.data
    }

    /// A value of `data` by a dotted path (`order.id`): strings unescaped, everything else as JSON.
    pub fn data_at(&self, path: &str) -> Option<Cow<'_, str>> {
        let datum = self.data.iter().find(|datum| datum.key == path)?;
        Some(Cow::Borrowed(&datum.value))
    }
}

pub fn read(body: &[u8]) -> Fields<'_> {
    let mut values = [const { None }; Field::ALL.len()];
    values[Field::Message as usize] = Some(String::from_utf8_lossy(body));
    let level = crate::level::level_of_text(body);
    Fields {
        level: level.unwrap_or(Level::Info),
        level_given: level.is_some(),
        audit: body.starts_with(b"[AUDIT]"),
        json: false,
        values,
        data: Vec::new(),
    }
}
