//! The path to a value in a JSON body: its keys, from the outside in.

use super::scan::{Member, Value};

/// `order.id` is `id` in `order`, or the key `order.id`; a name that was quoted is a key as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path {
    names: Vec<Name>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Name {
    text: String,
    quoted: bool,
}

/// Each name may be a key or a part of one: there are ways as many as 2 to their number.
const NAMES_MAX: usize = 16;

impl Path {
    /// Of names that dots part. `None`: they are too many.
    pub fn dotted(path: &str) -> Option<Path> {
        Path::new(path.split('.').map(|name| (name.to_owned(), false)))
    }

    /// Of names, and whether each is a whole key. `None`: there is none, or they are too many.
    pub fn new(names: impl Iterator<Item = (String, bool)>) -> Option<Path> {
        let names: Vec<Name> = names.map(|(text, quoted)| Name { text, quoted }).collect();
        (1..=NAMES_MAX).contains(&names.len()).then_some(Path { names })
    }

    /// The keys that the value may stand under directly.
    pub fn last_keys(&self) -> Vec<String> {
        let suffixes = (0..self.names.len()).rev().map(|from| &self.names[from..]);
        suffixes.take_while(|names| is_key(names)).map(key).collect()
    }

    /// The value that lies there, of the members of a body.
    pub(super) fn value_in<'a>(&self, members: &[Member<'a>]) -> Option<Value<'a>> {
        find(&self.names, &|key| {
            let first = |member: &&Member<'a>| member.key.to_str() == key;
            members.iter().find(first).map(|member| member.value)
        })
    }
}

/// Whether these names can be one key.
fn is_key(names: &[Name]) -> bool {
    names.len() == 1 || names.iter().all(|name| !name.quoted)
}

fn key(names: &[Name]) -> String {
    names.iter().map(|name| name.text.as_str()).collect::<Vec<_>>().join(".")
}

/// The longest key that leads there counts.
fn find<'a>(names: &[Name], member: &dyn Fn(&str) -> Option<Value<'a>>) -> Option<Value<'a>> {
    (1..=names.len()).rev().filter(|&len| is_key(&names[..len])).find_map(|len| {
        let (head, rest) = names.split_at(len);
        let value = member(&key(head))?;
        if rest.is_empty() {
            return Some(value);
        }
        find(rest, &|key| member_of(&value, key))
    })
}

fn member_of<'a>(value: &Value<'a>, name: &str) -> Option<Value<'a>> {
    let mut members = value.members()?;
    while let Ok(Some(member)) = members.next_member() {
        if member.key.to_str() == name {
            return Some(member.value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fields;

    #[test]
    fn keys_with_dots_and_blanks_are_found() {
        let body = br#"{"http.status":503,"user name":"Eve","a":{"b.c":{"d":1},"b":{"c.d":2,"e":3}},"a.b":{"e":4},"x":{"y.z":5}}"#;
        let fields = fields::read(body);
        let at = |names: &[(&str, bool)]| {
            let path =
                Path::new(names.iter().map(|(text, quoted)| ((*text).to_owned(), *quoted))).expect("a path");
            fields.at_path(&path).map(|(_, text)| text.into_owned())
        };
        let plain = |path: &str| fields.at(path).map(|text| text.into_owned());
        assert_eq!(plain("http.status").as_deref(), Some("503"));
        assert_eq!(at(&[("http.status", true)]).as_deref(), Some("503"));
        assert_eq!(at(&[("user name", true)]).as_deref(), Some("Eve"));
        assert_eq!(plain("a.b.c.d").as_deref(), Some("1"), "the longest key first");
        assert_eq!(at(&[("a", false), ("b", true), ("c.d", true)]).as_deref(), Some("2"));
        assert_eq!(plain("a.b.e").as_deref(), Some("4"));
        assert_eq!(at(&[("a", true), ("b", false), ("e", false)]).as_deref(), Some("3"));
        assert_eq!(at(&[("http", true), ("status", false)]), None);
        assert_eq!(at(&[("x", false), ("y.z", true)]).as_deref(), Some("5"));
        assert_eq!(Path::dotted(&"a.".repeat(16)), None);
        let path = |names: &[(&str, bool)]| {
            Path::new(names.iter().map(|(t, q)| ((*t).to_owned(), *q))).expect("a path")
        };
        assert_eq!(path(&[("a", false), ("b", false)]).last_keys(), ["b", "a.b"]);
        assert_eq!(path(&[("a", false), ("b.c", true)]).last_keys(), ["b.c"]);
        assert_eq!(path(&[("a", true), ("b", false), ("c", false)]).last_keys(), ["c", "b.c"]);
    }
}
