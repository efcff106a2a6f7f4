//! A cache of what every record of a call site says of it (its logger, file, line, function), as JSON that is made once for each thread.

use crate::fields::Fields;

/// How many call sites a thread remembers. A call site replaces an earlier one that has the same row.
const ROWS: usize = 64;

/// A call site, known by the addresses of its texts, which live as long as the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    file: (*const u8, usize),
    line: u32,
    /// The logger of an event of tracing, the function of a call.
    name: (*const u8, usize),
    is_event: bool,
}

fn lies(text: Option<&'static str>) -> (*const u8, usize) {
    text.map_or((std::ptr::null(), 0), |text| (text.as_ptr(), text.len()))
}

impl Key {
    pub fn of_event(file: Option<&'static str>, line: Option<u32>, target: &'static str) -> Key {
        Key { file: lies(file), line: line.unwrap_or(u32::MAX), name: lies(Some(target)), is_event: true }
    }

    pub fn of_call(file: &'static str, line: u32, function: Option<&'static str>) -> Key {
        Key { file: lies(Some(file)), line, name: lies(function), is_event: false }
    }

    fn row(&self) -> usize {
        let mixed =
            (self.file.0.addr() ^ self.name.0.addr().rotate_left(16)).wrapping_add(self.line as usize);
        mixed.wrapping_mul(0x9e37_79b9) >> 8 & (ROWS - 1)
    }
}

/// The call sites from which a thread has written.
#[derive(Debug, Default)]
pub(crate) struct CallSites(Vec<Option<(Key, Fields)>>);

impl CallSites {
    /// The fields of a call site. `make` writes them if the thread does not remember it.
    pub fn of(&mut self, key: Key, make: impl FnOnce(&mut Fields)) -> &Fields {
        if self.0.is_empty() {
            self.0.resize_with(ROWS, || None);
        }
        let row = &mut self.0[key.row()];
        if row.as_ref().is_none_or(|(known, _)| *known != key) {
            let mut fields = row.take().map(|(_, fields)| fields).unwrap_or_default();
            fields.clear();
            make(&mut fields);
            *row = Some((key, fields));
        }
        &row.get_or_insert_with(|| (key, Fields::new())).1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_says_what_is_its_own() {
        let mut places = CallSites::default();
        for round in 0..2 {
            for line in 0..200 {
                for function in [None, Some("pay"), Some("refund")] {
                    let key = Key::of_call("src/shop.rs", line, function);
                    let mut made = Fields::new();
                    let make = |fields: &mut Fields| {
                        fields.put("line", line);
                        fields.put("function", function);
                    };
                    make(&mut made);
                    let found = format!("{:?}", places.of(key, make));
                    assert_eq!(found, format!("{made:?}"), "round {round}");
                }
            }
        }
    }
}
