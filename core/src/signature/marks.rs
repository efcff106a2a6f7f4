//! What stands in a generalised message in the place of what changes from record to record.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    Url,
    Email,
    Trace,
    Uuid,
    Mac,
    Ip,
    Time,
    Path,
    Host,
    Pod,
    /// Digests, addresses in memory, ids of hexadecimal digits.
    Hex,
    Duration,
    Size,
    /// Any number, also a version of several.
    Number,
    Quoted,
    Bool,
    /// Whatever stands behind a `key=`.
    Value,
    /// Keys and values in braces.
    Map,
    /// A package with its architecture.
    Package,
    /// Options of a command line.
    Option,
    /// A name of a library, a type, a unit: of what is known by its form.
    Name,
}

const ALL: [(Mark, &str); 21] = [
    (Mark::Url, "<url>"),
    (Mark::Email, "<email>"),
    (Mark::Trace, "<trace>"),
    (Mark::Uuid, "<uuid>"),
    (Mark::Mac, "<mac>"),
    (Mark::Ip, "<ip>"),
    (Mark::Time, "<time>"),
    (Mark::Path, "<path>"),
    (Mark::Host, "<host>"),
    (Mark::Pod, "<pod>"),
    (Mark::Hex, "<hex>"),
    (Mark::Duration, "<duration>"),
    (Mark::Size, "<size>"),
    (Mark::Number, "<n>"),
    (Mark::Quoted, "<str>"),
    (Mark::Bool, "<bool>"),
    (Mark::Value, "<value>"),
    (Mark::Map, "<map>"),
    (Mark::Package, "<package>"),
    (Mark::Option, "<option>"),
    (Mark::Name, "<name>"),
];

impl Mark {
    pub fn as_bytes(self) -> &'static [u8] {
        ALL[self as usize].1.as_bytes()
    }

    /// The mark that a text begins with.
    pub fn at(text: &[u8]) -> Option<Mark> {
        ALL.iter().find(|(_, name)| text.starts_with(name.as_bytes())).map(|(mark, _)| *mark)
    }
}

#[cfg(test)]
mod tests {
    use super::{ALL, Mark};

    #[test]
    fn each_mark_is_read_back() {
        for (at, (mark, name)) in ALL.iter().enumerate() {
            assert_eq!((*mark as usize, mark.as_bytes()), (at, name.as_bytes()));
            assert_eq!(Mark::at(name.as_bytes()), Some(*mark));
        }
        assert_eq!(Mark::at(b"<none>"), None);
    }
}
