//! The words that dates and times are written with.

/// A month, a day of the week, a half of the day, a time zone.
pub(super) fn is_time_word(item: &[u8]) -> bool {
    const WORD_BYTES_MAX: usize = 9;
    let name = item.strip_suffix(b":").or_else(|| item.strip_suffix(b",")).unwrap_or(item);
    if name.len() > WORD_BYTES_MAX {
        return false;
    }
    let mut lower = [0; WORD_BYTES_MAX];
    for (to, from) in lower.iter_mut().zip(name) {
        *to = from.to_ascii_lowercase();
    }
    matches!(
        &lower[..name.len()],
        b"jan"
            | b"feb"
            | b"mar"
            | b"apr"
            | b"may"
            | b"jun"
            | b"jul"
            | b"aug"
            | b"sep"
            | b"oct"
            | b"nov"
            | b"dec"
            | b"january"
            | b"february"
            | b"march"
            | b"april"
            | b"june"
            | b"july"
            | b"august"
            | b"sept"
            | b"september"
            | b"october"
            | b"november"
            | b"december"
            | b"mon"
            | b"tue"
            | b"wed"
            | b"thu"
            | b"fri"
            | b"sat"
            | b"sun"
            | b"monday"
            | b"tuesday"
            | b"wednesday"
            | b"thursday"
            | b"friday"
            | b"saturday"
            | b"sunday"
            | b"am"
            | b"pm"
            | b"utc"
            | b"gmt"
            | b"z"
            | b"cet"
            | b"cest"
            | b"est"
            | b"pst"
    )
}
