//! Gives a body's values as text to the tests of a filter.

use serde_json::value::RawValue;

use crate::fields::{Field, Fields, Kind, Path};

/// Is given a value's text, and whether it is a number (or another literal) of JSON.
pub(super) type Each<'e> = &'e mut dyn FnMut(&str, bool) -> bool;

/// Calls `each` with a field's text.
pub(super) fn any(fields: &Fields<'_>, field: Field, each: Each<'_>) -> bool {
    !fields.is_nested(field) && fields.get(field).is_some_and(|text| each(text, false))
}

/// Calls `each` with the value at a dotted path: a scalar's text, or that of each element of an array of scalars, until
/// one says yes. Objects have no text, nor has `null`.
pub(super) fn any_data(fields: &Fields<'_>, path: &Path, each: Each<'_>) -> bool {
    match fields.at_path(path) {
        Some((Kind::String, text)) => each(&text, false),
        Some((Kind::Scalar, text)) => text != "null" && each(&text, true),
        Some((Kind::Array, json)) => elements(&json, each),
        Some((Kind::Object, _)) | None => false,
    }
}

fn elements(json: &str, each: Each<'_>) -> bool {
    let Ok(values) = serde_json::from_str::<Vec<&RawValue>>(json) else { return false };
    if values.iter().any(|value| value.get().starts_with(['[', '{'])) {
        return false;
    }
    values.iter().any(|value| match value.get() {
        "null" => false,
        string if string.starts_with('"') => {
            serde_json::from_str::<String>(string).is_ok_and(|text| each(&text, false))
        }
        number => each(number, true),
    })
}
