//! Patterns with `*`, which stands for any text, also for none.

/// What stands between the stars: one part more than there are stars.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stars {
    parts: Vec<Vec<u8>>,
}

impl Stars {
    /// Of a text with at least one star, lower-cased.
    pub fn new(lower: &str) -> Stars {
        Stars::of(lower.split('*').map(|part| part.as_bytes().to_vec()).collect())
    }

    pub fn of(parts: Vec<Vec<u8>>) -> Stars {
        Stars { parts }
    }

    pub fn parts(&self) -> impl Iterator<Item = &[u8]> {
        self.parts.iter().map(Vec::as_slice)
    }

    /// Whether all of `lower` is as the pattern says. Each part is taken where it comes first: linear for each part.
    pub fn matches(&self, lower: &[u8]) -> bool {
        let [first, middle @ .., last] = self.parts.as_slice() else { return false };
        if lower.len() < first.len() + last.len() || !lower.starts_with(first) || !lower.ends_with(last) {
            return false;
        }
        let mut rest = &lower[first.len()..lower.len() - last.len()];
        middle.iter().all(|part| match memchr::memmem::find(rest, part) {
            Some(at) => {
                rest = &rest[at + part.len()..];
                true
            }
            None => false,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_is_any_text() {
        for (pattern, yes, no) in [
            ("time*", &["time", "timeout"][..], &["overtime", "tim"][..]),
            ("*out", &["out", "timeout"], &["outer"]),
            ("*me*", &["me", "timeout", "mem"], &["m", "em"]),
            ("a*b*c", &["abc", "axbxc", "abbcc"], &["ab", "acb", "xabc"]),
            ("ab*ba", &["abba", "abxba"], &["aba", "ab"]),
            ("*", &["", "x"], &[]),
        ] {
            let stars = Stars::new(pattern);
            yes.iter().for_each(|text| assert!(stars.matches(text.as_bytes()), "{pattern} {text}"));
            no.iter().for_each(|text| assert!(!stars.matches(text.as_bytes()), "{pattern} {text}"));
        }
    }
}
