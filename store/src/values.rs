//! Values as PostgreSQL writes and takes them, for statements that share nothing else.

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
