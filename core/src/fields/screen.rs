//! Whether what follows the level in an object may say more of level, audit or task: a look at its bytes, three at a time, without
//! reading its members.
//! Promise: where it says no, no member there is an object, is called `isAudit`, `taskId` or `task` in any spelling, or is a text that
//! begins with `[AUDIT]` or `audit.`.
//!
//! Each of these names holds the letters `ud` or `sk`, in any case; where `_`, `-` and `.` may stand between the letters of a name, the
//! first of them is followed by one of these, and that by another one or the second letter. An escape may stand for any letter.

/// Bytes that are looked at together: what processors compare at once, or a multiple of it.
const LANES: usize = 32;

/// Whether `rest`, the bytes behind a member of an object, has to be read.
#[inline]
pub fn may_say_more(rest: &[u8]) -> bool {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        #[allow(unsafe_code, reason = "the one way to call what is compiled for a newer processor")]
        // SAFETY: this processor has it.
        return unsafe { may_say_more_avx2(rest) };
    }
    screen(rest)
}

/// Twice as many bytes at once.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn may_say_more_avx2(rest: &[u8]) -> bool {
    screen(rest)
}

#[inline(always)]
fn screen(rest: &[u8]) -> bool {
    let mut at = 0;
    while let Some(bytes) = rest.get(at..).and_then(|rest| rest.first_chunk::<{ LANES + 2 }>()) {
        if any_begins(bytes) {
            return true;
        }
        at += LANES;
    }
    // What is left is shorter, and nothing follows it.
    let left = &rest[at..];
    let mut bytes = [0; LANES + 4];
    bytes[..left.len()].copy_from_slice(left);
    bytes.first_chunk().is_some_and(any_begins)
        || (left.len() > LANES && bytes.last_chunk().is_some_and(any_begins))
}

/// (No branch within: that is what lets a compiler take all bytes at once.)
#[inline(always)]
fn any_begins(bytes: &[u8; LANES + 2]) -> bool {
    let mut found = 0;
    for at in 0..LANES {
        found |= u8::from(begins_here(bytes[at], bytes[at + 1], bytes[at + 2]));
    }
    found != 0
}

/// Whether something that matters may begin with these three bytes.
#[inline(always)]
fn begins_here(first: u8, second: u8, third: u8) -> bool {
    let lower = |byte: u8| byte | 0x20;
    let is_first = (lower(first) == b'u') | (lower(first) == b's');
    let is_second = |byte: u8| (lower(byte) == b'd') | (lower(byte) == b'k');
    let is_between = |byte: u8| (byte == b'_') | (byte == b'-') | (byte == b'.');
    let is_name =
        is_first & (is_second(second) | (is_between(second) & (is_second(third) | is_between(third))));
    is_name | (first == b'{') | (first == b'\\')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::key::{Field, Key, Place};
    use super::super::names::NAMES;
    use super::{may_say_more, screen};

    /// The rule, letter by letter.
    fn by_the_rule(rest: &[u8]) -> bool {
        let is_between = |byte: &&u8| matches!(byte, b'_' | b'-' | b'.');
        (0..rest.len()).any(|at| {
            let second = rest.get(at + 1).filter(|_| matches!(rest[at], b'u' | b'U' | b's' | b'S'));
            let third = second.filter(is_between).and_then(|_| rest.get(at + 2));
            let is_second = |byte: Option<&u8>| matches!(byte, Some(b'd' | b'D' | b'k' | b'K'));
            matches!(rest[at], b'{' | b'\\')
                || is_second(second)
                || is_second(third)
                || third.filter(is_between).is_some()
        })
    }

    #[test]
    fn names_that_matter_are_seen_in_every_spelling() {
        let matters = |key: Key| match key {
            Key::IsAudit | Key::Field(Field::TaskId, _) => true,
            Key::Place(place, _) => place == Place::Id(Field::TaskId),
            _ => false,
        };
        let names: Vec<&str> =
            NAMES.iter().filter(|entry| matters(entry.key)).map(|entry| entry.name).collect();
        assert_eq!(names.len(), 3, "{names:?}");
        for name in names {
            for parts in ["", "_", "-", ".", "__", "_-.", "---"] {
                let parted: Vec<String> = name.chars().map(String::from).collect();
                let key = parted.join(parts);
                for key in [key.clone(), key.to_ascii_uppercase()] {
                    assert!(may_say_more(format!(",\"{key}\":1}}").as_bytes()), "{key}");
                }
            }
        }
        for rest in [",\"msg\":\"[AUDIT] x\"}", ",\"logger\":\"audit.x\"}", ",\"a\":{}}", ",\"\\u0061\":1}"] {
            assert!(may_say_more(rest.as_bytes()), "{rest}");
        }
        assert!(!may_say_more(
            b",\"msg\":\"paid by user u-17 in eu-west-1\",\"status\":200,\"trace_id\":\"9c1d5be07a3f4c52\"}"
        ));
        assert!(!may_say_more(b""));
    }

    proptest! {
        #[test]
        fn every_byte_is_looked_at(
            rest in "[a-z0-9\":, ]{0,150}",
            at in any::<prop::sample::Index>(),
            with in prop::sample::select(vec!["ud", "sK", "u_d", "S..", "s-", "u", "{", "\\", "U__", "s.k", "k", "_u", "[AUDIT]"]),
        ) {
            let mut rest = rest.into_bytes();
            let at = at.index(rest.len() + 1);
            rest.splice(at..at, with.bytes());
            prop_assert!(!by_the_rule(&rest) || may_say_more(&rest));
            // (The two letters of different names together say no, either.)
            prop_assert_eq!(screen(&rest), may_say_more(&rest));
        }

        #[test]
        fn of_any_bytes(rest in prop::collection::vec(any::<u8>(), 0..120)) {
            prop_assert!(!by_the_rule(&rest) || screen(&rest));
            prop_assert_eq!(screen(&rest), may_say_more(&rest));
        }
    }
}
