//! The names of fields: which are known, how each is spelled, which are texts, and which are the logger's own.

/// A field's name as it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Name<'a> {
    pub text: &'a str,
    /// Its value is a text, also when a number is given.
    pub is_id: bool,
    /// One bit of 64: names with different bits are different.
    pub bit: u64,
}

/// A row: the spelling, the snake_case spelling, whether it is an id.
static KNOWN: [(&str, &str, bool); 29] = [
    ("tenantId", "tenant_id", true),
    ("tenantSlug", "tenant_slug", true),
    ("userId", "user_id", true),
    ("sessionId", "session_id", true),
    ("impersonatorId", "impersonator_id", true),
    ("requestId", "request_id", true),
    ("traceId", "trace_id", true),
    ("spanId", "span_id", true),
    ("taskId", "task_id", true),
    ("errorCode", "error_code", true),
    ("errorType", "error_type", false),
    ("errorStack", "error_stack", false),
    ("errorChain", "error_chain", false),
    ("error", "error", false),
    ("service", "service", false),
    ("source", "source", false),
    ("action", "action", false),
    ("plugin", "plugin", false),
    ("pid", "pid", false),
    ("file", "file", false),
    ("line", "line", false),
    ("function", "function", false),
    ("logger", "logger", false),
    ("environment", "environment", false),
    ("version", "version", false),
    ("region", "region", false),
    ("metadata", "metadata", false),
    ("scope", "scope", false),
    ("dropped", "dropped", false),
];

/// Fields that the logger writes itself, and what an application's field of such a name becomes.
static OWN: [(&str, &str); 4] = [
    ("timestamp", "field_timestamp"),
    ("level", "field_level"),
    ("message", "field_message"),
    ("is_audit", "field_is_audit"),
];

/// How a given name is written.
pub fn name(given: &str) -> Name<'_> {
    let given = given.strip_prefix("r#").unwrap_or(given);
    // The first letter sorts most of the unknown ones out.
    if let Some(b'a'..=b'v') = given.as_bytes().first() {
        if let Some((text, _, is_id)) = known(given) {
            return Name { text, is_id, bit: bit(text) };
        }
        if let Some((_, text)) = OWN.iter().find(|(own, _)| *own == given) {
            return Name { text, is_id: false, bit: bit(text) };
        }
    }
    Name { text: given, is_id: false, bit: bit(given) }
}

fn known(given: &str) -> Option<(&'static str, &'static str, bool)> {
    let first = given.as_bytes().first()?;
    let is_given =
        |row: &&(&str, &str, bool)| row.0.as_bytes()[0] == *first && (row.0 == given || row.1 == given);
    KNOWN.iter().find(is_given).copied()
}

/// FNV over the name, down to one bit.
fn bit(text: &str) -> u64 {
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    1 << (hash >> 58)
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
            ("", ""),
        ] {
            assert_eq!(name(given).text, expected);
        }
    }
}
