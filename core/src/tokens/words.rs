//! Text into words: runs of letters, digits and `_`, lower-cased.
//!
//! Letters and digits are Unicode's; bytes that are not UTF-8 separate. A non-ASCII character whose lower case is ASCII
//! (the Kelvin sign) stays as it is: an ASCII word is in a text only if its ASCII letters are.

/// Which bytes end a word (0), are a word's byte as they are (1), are upper-case ASCII (2), or are not ASCII (3).
const CLASS: [u8; 256] = {
    let mut class = [0u8; 256];
    let mut byte = 0;
    while byte < 256 {
        class[byte] = match byte as u8 {
            b'0'..=b'9' | b'a'..=b'z' | b'_' => 1,
            b'A'..=b'Z' => 2,
            0x80..=0xff => 3,
            _ => 0,
        };
        byte += 1;
    }
    class
};

/// Calls `each` with every word of `text`, lower-cased, in order.
pub fn for_each(text: &[u8], each: &mut impl FnMut(&[u8])) {
    let mut small = [0u8; 64];
    let mut at = 0;
    while at < text.len() {
        if CLASS[usize::from(text[at])] == 0 {
            at += 1;
            continue;
        }
        let start = at;
        let mut kinds = 0u8;
        while at < text.len() {
            let class = CLASS[usize::from(text[at])];
            if class == 0 {
                break;
            }
            kinds |= class;
            at += 1;
        }
        let run = &text[start..at];
        if kinds == 1 {
            each(run);
        } else if run.iter().any(|&byte| byte >= 0x80) {
            unicode(run, each);
        } else if let Some(lower) = small.get_mut(..run.len()) {
            lower.copy_from_slice(run);
            lower.make_ascii_lowercase();
            each(lower);
        } else {
            each(&run.to_ascii_lowercase());
        }
    }
}

/// The words of a run that has bytes above 0x7f.
fn unicode(run: &[u8], each: &mut impl FnMut(&[u8])) {
    let mut word = String::new();
    for chunk in run.utf8_chunks() {
        for c in chunk.valid().chars() {
            if c.is_alphanumeric() || c == '_' {
                push_lower(&mut word, c);
            } else if !word.is_empty() {
                each(word.as_bytes());
                word.clear();
            }
        }
        if !chunk.invalid().is_empty() && !word.is_empty() {
            each(word.as_bytes());
            word.clear();
        }
    }
    if !word.is_empty() {
        each(word.as_bytes());
    }
}

fn push_lower(word: &mut String, c: char) {
    if c.is_ascii() {
        word.push(c.to_ascii_lowercase());
    } else if c.to_lowercase().any(|lower| lower.is_ascii()) {
        word.push(c);
    } else {
        word.extend(c.to_lowercase());
    }
}

/// `text` lower-cased as its words would be, everything else as it is; bytes that are not UTF-8 become U+FFFD.
pub fn lower(text: &[u8]) -> String {
    let mut out = String::with_capacity(text.len());
    for c in String::from_utf8_lossy(text).chars() {
        push_lower(&mut out, c);
    }
    out
}

/// All words of `text`.
pub fn of(text: &[u8]) -> Vec<Vec<u8>> {
    let mut words = Vec::new();
    for_each(text, &mut |word| words.push(word.to_vec()));
    words
}
