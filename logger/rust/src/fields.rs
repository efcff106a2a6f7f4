//! Sets of fields that are written once and used for many lines. Each field is a piece of JSON; a set knows which names are in it.
//! Promises: no name comes twice in a set, nor in a line made of several.

use std::borrow::Cow;
use std::fmt;

use crate::json;
use crate::names::{self, Name};

/// A set of fields, as the JSON that they are in a line.
#[derive(Clone, Default)]
pub struct Fields {
    /// `,"name":value` for each.
    json: Vec<u8>,
    parts: Vec<Part>,
    /// One bit for each name; sets without a common bit have no common name.
    names: u64,
}

#[derive(Clone, Copy)]
struct Part {
    begin: usize,
    value: usize,
    end: usize,
}

impl Fields {
    pub const fn new() -> Fields {
        Fields { json: Vec::new(), parts: Vec::new(), names: 0 }
    }

    /// The same with one more; a name that is there already gets the new value.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Value) -> Fields {
        let mut newer = Fields::new();
        newer.put(name, value);
        if newer.names & self.names != 0 {
            self = newer.over(&self);
        } else {
            self.append(&newer);
        }
        self
    }

    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// Writes them as an object of their own.
    pub(crate) fn write_object(&self, out: &mut Vec<u8>) {
        out.push(b'{');
        out.extend_from_slice(self.json.get(1..).unwrap_or_default());
        out.push(b'}');
    }

    /// Bytes that it has room for.
    pub(crate) fn capacity(&self) -> usize {
        self.json.capacity()
    }

    pub(crate) fn clear(&mut self) {
        self.json.clear();
        self.parts.clear();
        self.names = 0;
    }

    /// Adds a field unless its name is there.
    pub(crate) fn put(&mut self, given: &str, value: impl Value) {
        self.put_with(given, |out| value.write(out));
    }

    /// The same with whatever writes a JSON value; when it writes nothing there is no field.
    pub(crate) fn put_with(&mut self, given: &str, write: impl FnOnce(&mut Vec<u8>)) {
        self.put_named(names::name(given), write);
    }

    /// A field of a name that is spelled as it is written.
    pub(crate) fn put_known(&mut self, text: &'static str, write: impl FnOnce(&mut Vec<u8>)) {
        self.put_named(Name { text, is_id: false, bit: names::bit_of(text) }, write);
    }

    fn put_named(&mut self, name: Name<'_>, write: impl FnOnce(&mut Vec<u8>)) {
        let begin = self.json.len();
        json::key(&mut self.json, name.text);
        let value = self.json.len();
        if self.names & name.bit != 0 && self.has(&self.json[begin..value], self.parts.len()) {
            return self.json.truncate(begin);
        }
        write(&mut self.json);
        match self.json.get(value) {
            None => return self.json.truncate(begin),
            Some(b'0'..=b'9' | b'-' | b't' | b'f') if name.is_id => {
                self.json.insert(value, b'"');
                self.json.push(b'"');
            }
            Some(_) => {}
        }
        self.names |= name.bit;
        self.parts.push(Part { begin, value, end: self.json.len() });
    }

    /// Whether one of the first `count` parts has this key (`,"name":`).
    fn has(&self, key: &[u8], count: usize) -> bool {
        self.parts[..count].iter().any(|part| &self.json[part.begin..part.value] == key)
    }

    /// These fields, and those of `older` whose names are not among them.
    #[must_use]
    pub fn over(&self, older: &Fields) -> Fields {
        let mut all = self.clone();
        if self.names & older.names == 0 {
            all.append(older);
            return all;
        }
        for part in &older.parts {
            if !self.has(&older.json[part.begin..part.value], self.parts.len()) {
                let shift = all.json.len();
                all.json.extend_from_slice(&older.json[part.begin..part.end]);
                let moved = |at: usize| at - part.begin + shift;
                all.parts.push(Part { begin: shift, value: moved(part.value), end: moved(part.end) });
            }
        }
        all.names |= older.names;
        all
    }

    fn append(&mut self, other: &Fields) {
        let shift = self.json.len();
        self.json.extend_from_slice(&other.json);
        self.parts.extend(other.parts.iter().map(|part| Part {
            begin: part.begin + shift,
            value: part.value + shift,
            end: part.end + shift,
        }));
        self.names |= other.names;
    }
}

impl fmt::Debug for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(self.json.get(1..).unwrap_or_default()))
    }
}

/// Writes the members of several sets, each name once: an earlier set's wins.
pub(crate) fn write_all(out: &mut Vec<u8>, sets: &[&Fields]) {
    let mut seen = 0;
    for (index, set) in sets.iter().enumerate() {
        if seen & set.names == 0 {
            out.extend_from_slice(&set.json);
        } else {
            for part in &set.parts {
                let key = &set.json[part.begin..part.value];
                if !sets[..index].iter().any(|earlier| earlier.has(key, earlier.parts.len())) {
                    out.extend_from_slice(&set.json[part.begin..part.end]);
                }
            }
        }
        seen |= set.names;
    }
}

/// What can be the value of a field. What writes nothing (a `None`) is no field.
pub trait Value {
    /// Writes itself as JSON.
    fn write(&self, out: &mut Vec<u8>);
}

impl<T: Value + ?Sized> Value for &T {
    fn write(&self, out: &mut Vec<u8>) {
        (**self).write(out);
    }
}

impl<T: Value + ?Sized> Value for Box<T> {
    fn write(&self, out: &mut Vec<u8>) {
        (**self).write(out);
    }
}

impl<T: Value> Value for Option<T> {
    fn write(&self, out: &mut Vec<u8>) {
        if let Some(value) = self {
            value.write(out);
        }
    }
}

impl Value for str {
    fn write(&self, out: &mut Vec<u8>) {
        json::text(out, self);
    }
}

impl Value for String {
    fn write(&self, out: &mut Vec<u8>) {
        json::text(out, self);
    }
}

impl Value for Cow<'_, str> {
    fn write(&self, out: &mut Vec<u8>) {
        json::text(out, self);
    }
}

impl Value for char {
    fn write(&self, out: &mut Vec<u8>) {
        json::text(out, self.encode_utf8(&mut [0; 4]));
    }
}

impl Value for bool {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(if *self { b"true" } else { b"false" });
    }
}

macro_rules! whole {
    ($($small:ty),* as $wide:ty, $write:path) => {$(
        impl Value for $small {
            fn write(&self, out: &mut Vec<u8>) {
                $write(out, *self as $wide);
            }
        }
    )*};
}

whole!(u8, u16, u32, u64, usize as u64, json::integer);
whole!(i8, i16, i32, i64, isize as i64, json::signed);
whole!(f32, f64 as f64, json::float);

impl Value for u128 {
    fn write(&self, out: &mut Vec<u8>) {
        json::wide(out, format_args!("{self}"));
    }
}

impl Value for i128 {
    fn write(&self, out: &mut Vec<u8>) {
        json::wide(out, format_args!("{self}"));
    }
}

impl Value for fmt::Arguments<'_> {
    fn write(&self, out: &mut Vec<u8>) {
        json::written(out, *self);
    }
}

impl Value for serde_json::Value {
    fn write(&self, out: &mut Vec<u8>) {
        match self {
            serde_json::Value::Null => {}
            serde_json::Value::String(text) => json::text(out, text),
            other => json::serialized(out, other),
        }
    }
}

/// A value as serde serializes it.
#[derive(Clone, Copy, Debug)]
pub struct Serialized<T>(pub T);

impl<T: serde::Serialize> Value for Serialized<T> {
    fn write(&self, out: &mut Vec<u8>) {
        let begin = out.len();
        json::serialized(out, &self.0);
        if &out[begin..] == b"null" {
            out.truncate(begin);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(sets: &[&Fields]) -> String {
        let mut out = Vec::new();
        write_all(&mut out, sets);
        String::from_utf8(out).expect("UTF-8")
    }

    #[test]
    fn a_name_comes_once_and_the_nearest_wins() {
        let near = Fields::new().with("a", 1).with("request_id", "near");
        let far = Fields::new().with("requestId", "far").with("b", true);
        assert_eq!(json(&[&near, &far]), r#","a":1,"requestId":"near","b":true"#);
        assert_eq!(json(&[&near.over(&far)]), json(&[&near, &far]));
        assert_eq!(json(&[&Fields::new().with("a", 1).with("a", 2)]), r#","a":2"#);
        // Names that share a bit of 64 are still two names.
        let many = (0..200).fold(Fields::new(), |fields, n| fields.with(&format!("n{n}"), n));
        let more = (100..300).fold(Fields::new(), |fields, n| fields.with(&format!("n{n}"), -n));
        let both: serde_json::Value =
            serde_json::from_str(&format!("{{{}}}", &json(&[&more, &many])[1..])).expect("JSON");
        assert_eq!(both.as_object().map(serde_json::Map::len), Some(300));
        assert_eq!((&both["n99"], &both["n100"]), (&serde_json::json!(99), &serde_json::json!(-100)));
        assert_eq!(json(&[&more.over(&many)]).matches("\"n100\"").count(), 1);
    }

    #[test]
    fn values_are_what_they_are() {
        let fields = Fields::new()
            .with("none", None::<u8>)
            .with("null", serde_json::Value::Null)
            .with("task_id", 42)
            .with("userId", "u")
            .with("big", u128::MAX)
            .with("list", Serialized(vec![1, 2]));
        let all = format!("{{{}}}", &json(&[&fields])[1..]);
        assert_eq!(all, format!(r#"{{"taskId":"42","userId":"u","big":{},"list":[1,2]}}"#, u128::MAX));
    }
}
