//! Counts the values of some fields, within bounds: a value is any text, of any length, and there may be any number of them.

use std::collections::HashMap;

use cordwood_core::limits::{FACET_VALUE_BYTES_MAX, FACETS_BYTES_MAX};
use prometheus::IntCounter;

use crate::answer::{Facet, ValueCount};

/// Different values of a field that are counted apart.
const VALUES_MAX: usize = 10_000;
/// What one more value takes besides its bytes.
const ENTRY_BYTES: usize = 64;

/// Of all fields of one answer.
pub struct Tally {
    fields: Vec<(&'static str, Counts)>,
    /// Lower-cased; what does not begin so is among the others.
    prefix: String,
    bytes_left: usize,
    cut: IntCounter,
}

#[derive(Default)]
struct Counts {
    /// By value, and whether it is only the beginning of one.
    known: HashMap<(String, bool), u64>,
    others: u64,
    missing: u64,
    has_no_room: bool,
}

impl Tally {
    /// `cut`: records whose value is counted by its beginning, or among the others for want of room.
    pub fn new(fields: Vec<&'static str>, prefix: &str, cut: IntCounter) -> Tally {
        let fields = fields.into_iter().map(|field| (field, Counts::default())).collect();
        Tally { fields, prefix: prefix.to_lowercase(), bytes_left: FACETS_BYTES_MAX, cut }
    }

    /// A record; `value` says what it has in a field.
    pub fn add<T: AsRef<str>>(&mut self, value: impl Fn(&'static str) -> Option<T>) {
        for (field, counts) in &mut self.fields {
            let Some(value) = value(field) else {
                counts.missing += 1;
                continue;
            };
            let whole = value.as_ref();
            let text = &whole[..whole.floor_char_boundary(FACET_VALUE_BYTES_MAX)];
            if !text.to_lowercase().starts_with(&self.prefix) {
                counts.others += 1;
                continue;
            }
            let is_cut = text.len() < whole.len();
            if is_cut {
                self.cut.inc();
            }
            let key = (text.to_owned(), is_cut);
            if let Some(count) = counts.known.get_mut(&key) {
                *count += 1;
                continue;
            }
            let bytes = ENTRY_BYTES + text.len();
            if counts.known.len() < VALUES_MAX && bytes <= self.bytes_left {
                self.bytes_left -= bytes;
                counts.known.insert(key, 1);
            } else {
                counts.others += 1;
                counts.has_no_room = true;
                if !is_cut {
                    self.cut.inc();
                }
            }
        }
    }

    /// By field, of each so many of the most frequent values.
    pub fn most_frequent(self, most: usize) -> impl Iterator<Item = (&'static str, Facet)> {
        self.fields.into_iter().map(move |(field, counts)| (field, counts.most_frequent(most)))
    }
}

impl Counts {
    fn most_frequent(self, most: usize) -> Facet {
        let mut all: Vec<_> = self.known.into_iter().collect();
        all.sort_by(|(a, a_count), (b, b_count)| b_count.cmp(a_count).then_with(|| a.cmp(b)));
        let rest = all.split_off(most.min(all.len()));
        let values = all.into_iter().map(|((value, cut), count)| ValueCount { value, count, cut });
        Facet {
            values: values.collect(),
            others: self.others + rest.iter().map(|(_, count)| count).sum::<u64>(),
            missing: self.missing,
            cut: self.has_no_room,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(prefix: &str) -> Tally {
        Tally::new(vec!["source", "service"], prefix, IntCounter::new("cut", "x").unwrap())
    }

    fn facets(tally: Tally, most: usize) -> HashMap<&'static str, Facet> {
        tally.most_frequent(most).collect()
    }

    #[test]
    fn a_long_value_is_counted_by_its_beginning_and_says_so() {
        let (mut tally, long) = (tally(""), "é".repeat(FACET_VALUE_BYTES_MAX));
        // The same beginning, and a whole value that looks like it.
        let begin = &long[..FACET_VALUE_BYTES_MAX];
        for value in [long.as_str(), &format!("{begin}x"), begin, "short"] {
            tally.add(|field| (field == "source").then_some(value));
        }
        assert_eq!(tally.cut.get(), 2);
        let facets = facets(tally, 10);
        let source = &facets["source"];
        let found: Vec<_> =
            source.values.iter().map(|value| (value.value.as_str(), value.count, value.cut)).collect();
        assert_eq!(found, [(begin, 2, true), ("short", 1, false), (begin, 1, false)]);
        assert_eq!((source.cut, facets["service"].missing), (false, 4));
    }

    #[test]
    fn values_have_room_in_all_and_what_has_none_is_counted() {
        let mut tally = tally("");
        let value = |n: usize| format!("{n:0>width$}", width = FACET_VALUE_BYTES_MAX * 3 / 2);
        let records = 3 * FACETS_BYTES_MAX / FACET_VALUE_BYTES_MAX;
        for n in 0..records {
            // The number stands at the end of one and at the begin of the other.
            let reversed: String = value(n).chars().rev().collect();
            tally.add(|field| Some(if field == "source" { reversed.as_str() } else { "same" }));
        }
        let kept: usize =
            tally.fields.iter().flat_map(|(_, counts)| counts.known.keys()).map(|key| key.0.len()).sum();
        assert!(kept <= FACETS_BYTES_MAX && tally.cut.get() > 0, "{kept}");
        let facets = facets(tally, 3);
        let shown: u64 = facets["source"].values.iter().map(|value| value.count).sum();
        assert_eq!(shown + facets["source"].others, records as u64);
        assert_eq!((facets["source"].cut, facets["service"].cut), (true, false));
    }

    #[test]
    fn a_prefix_leaves_the_rest_among_the_others() {
        let mut tally = tally("CHE");
        for value in ["checkout", "Cheese", "mail"] {
            tally.add(|_| Some(value));
        }
        let facets = facets(tally, 10);
        assert_eq!((facets["source"].values.len(), facets["source"].others), (2, 1));
    }
}
