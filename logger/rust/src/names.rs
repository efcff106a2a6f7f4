//! The known names of fields: how each is spelled, which are texts, and which are the logger's own.

/// A field's name as it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Name<'a> {
    pub text: &'a str,
    /// Its value is a text, also when a number is given.
    pub is_id: bool,
    /// One bit of 64: names with different bits are different.
    pub bit: u64,
}

/// A row: the spelling, the snake_case spelling, whether it is an id. Sorted by the first letter.
static KNOWN: [(&str, &str, bool); 29] = [
    ("action", "action", false),
    ("dropped", "dropped", false),
    ("error", "error", false),
    ("errorCode", "error_code", true),
    ("errorType", "error_type", false),
    ("errorStack", "error_stack", false),
    ("errorChain", "error_chain", false),
    ("environment", "environment", false),
    ("file", "file", false),
    ("function", "function", false),
    ("impersonatorId", "impersonator_id", true),
    ("line", "line", false),
    ("logger", "logger", false),
    ("metadata", "metadata", false),
    ("plugin", "plugin", false),
    ("pid", "pid", false),
    ("requestId", "request_id", true),
    ("region", "region", false),
    ("service", "service", false),
    ("source", "source", false),
    ("sessionId", "session_id", true),
    ("spanId", "span_id", true),
    ("scope", "scope", false),
    ("tenantId", "tenant_id", true),
    ("tenantSlug", "tenant_slug", true),
    ("traceId", "trace_id", true),
    ("taskId", "task_id", true),
    ("userId", "user_id", true),
    ("version", "version", false),
];

/// Fields that the logger writes itself, and what an application's field of such a name becomes.
static OWN: [(&str, &str); 4] = [
    ("timestamp", "field_timestamp"),
    ("level", "field_level"),
    ("message", "field_message"),
    ("is_audit", "field_is_audit"),
];

/// What is known of the names that begin with one letter.
#[derive(Clone, Copy)]
struct Initial {
    /// One bit for each length that such a name has.
    lengths: u32,
    /// The rows of [`KNOWN`].
    begin: u8,
    end: u8,
}

const LETTERS: usize = 26;

/// By the first letter: most names of an application are known by it and their length to be their own.
static INITIALS: [Initial; LETTERS] = initials();

const fn initials() -> [Initial; LETTERS] {
    let mut all = [Initial { lengths: 0, begin: 0, end: 0 }; LETTERS];
    let mut at = 0;
    while at < KNOWN.len() {
        let (text, snake, _) = KNOWN[at];
        let initial = &mut all[(text.as_bytes()[0] - b'a') as usize];
        if initial.end == 0 {
            initial.begin = at as u8;
        }
        initial.end = at as u8 + 1;
        initial.lengths |= 1 << text.len() | 1 << snake.len();
        at += 1;
    }
    at = 0;
    while at < OWN.len() {
        let own = OWN[at].0.as_bytes();
        all[(own[0] - b'a') as usize].lengths |= 1 << own.len();
        at += 1;
    }
    all
}

/// How a given name is written.
pub fn name(given: &str) -> Name<'_> {
    let given = given.strip_prefix("r#").unwrap_or(given);
    let first = given.as_bytes().first().map_or(u8::MAX, |first| first.wrapping_sub(b'a'));
    if let Some(initial) = INITIALS.get(usize::from(first))
        && given.len() < u32::BITS as usize
        && initial.lengths >> given.len() & 1 != 0
    {
        let rows = &KNOWN[usize::from(initial.begin)..usize::from(initial.end)];
        if let Some((text, _, is_id)) = rows.iter().find(|row| row.0 == given || row.1 == given) {
            return Name { text, is_id: *is_id, bit: bit(text) };
        }
        if let Some((_, text)) = OWN.iter().find(|(own, _)| *own == given) {
            return Name { text, is_id: false, bit: bit(text) };
        }
    }
    Name { text: given, is_id: false, bit: bit(given) }
}

/// A hash of the name, down to one bit. It looks at the first and the last eight bytes.
fn bit(text: &str) -> u64 {
    let bytes = text.as_bytes();
    let word = if let (Some(first), Some(last)) = (bytes.first_chunk(), bytes.last_chunk()) {
        u64::from_le_bytes(*first) ^ u64::from_le_bytes(*last).rotate_left(29)
    } else if let (Some(first), Some(last)) = (bytes.first_chunk(), bytes.last_chunk()) {
        u64::from(u32::from_le_bytes(*first)) << 32 | u64::from(u32::from_le_bytes(*last))
    } else {
        bytes.iter().fold(0, |word, byte| word << 8 | u64::from(*byte))
    };
    1 << ((word ^ bytes.len() as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 58)
}

/// The bit of a name that is written as it is.
pub fn bit_of(text: &str) -> u64 {
    bit(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_names_have_one_spelling() {
        for (camel, snake, is_id) in KNOWN {
            for given in [camel, snake] {
                assert_eq!(name(given), Name { text: camel, is_id, bit: bit(camel) }, "{given}");
            }
        }
        for (given, expected) in [
            ("level", "field_level"),
            ("is_audit", "field_is_audit"),
            ("r#type", "type"),
            ("orderId", "orderId"),
            ("timestamp", "field_timestamp"),
            ("message", "field_message"),
            ("Level", "Level"),
            ("lines", "lines"),
            ("größe", "größe"),
            ("", ""),
        ] {
            assert_eq!(name(given).text, expected);
        }
    }
}
