//! Converts values to and from PostgreSQL's form; shared by statements that have nothing else in common.

/// A count of PostgreSQL's, which is signed and never negative.
pub fn unsigned(count: i64) -> u64 {
    count.max(0).unsigned_abs()
}

/// `LIKE`'s pattern of a text that stands anywhere in a value.
pub fn pattern(text: &str) -> String {
    let mut pattern = String::from("%");
    for character in text.chars() {
        if matches!(character, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(character);
    }
    pattern.push('%');
    pattern
}
