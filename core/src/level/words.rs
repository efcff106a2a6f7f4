//! The level words of the common loggers.

use super::Level;

/// Longest word in the table.
const WORD_BYTES_MAX: usize = 13;

/// See [`Level::from_word`]. Where loggers disagree the higher level is taken, because a level rule drops what is low:
/// `verbose` (Serilog's lowest, npm's second lowest) is DEBUG.
pub(super) fn level_of(word: &[u8]) -> Option<Level> {
    if word.is_empty() || word.len() > WORD_BYTES_MAX {
        return None;
    }
    let mut lower = [0u8; WORD_BYTES_MAX];
    for (to, from) in lower.iter_mut().zip(word) {
        *to = from.to_ascii_lowercase();
    }
    Some(match &lower[..word.len()] {
        b"info" | b"inf" | b"i" | b"information" | b"informational" | b"notice" | b"note" | b"log"
        | b"default" | b"success" | b"config" | b"hint" => Level::Info,
        b"error" | b"err" | b"e" | b"eror" | b"erro" | b"severe" | b"critical" | b"crit" | b"crt" | b"c"
        | b"fatal" | b"fata" | b"ftl" | b"f" | b"panic" | b"pani" | b"pnc" | b"dpanic" | b"emerg"
        | b"emergency" | b"alert" | b"fail" | b"failure" => Level::Error,
        b"warn" | b"warning" | b"wrn" | b"w" => Level::Warn,
        b"debug" | b"dbg" | b"dbug" | b"debg" | b"debu" | b"d" | b"fine" | b"verbose" | b"vrb" | b"v" => {
            Level::Debug
        }
        [b'd', b'e', b'b', b'u', b'g', b'1'..=b'9'] => Level::Debug,
        b"trace" | b"trac" | b"trce" | b"trc" | b"t" | b"finer" | b"finest" | b"silly" => Level::Trace,
        [b't', b'r', b'a', b'c', b'e', b'1'..=b'9'] => Level::Trace,
        _ => return None,
    })
}

/// Words that are a level where a logger puts one, and otherwise words like any other.
pub(super) fn is_common(word: &[u8]) -> bool {
    [&b"log"[..], b"config", b"default", b"success", b"hint", b"fine", b"note", b"fail", b"failure"]
        .iter()
        .any(|common| word.eq_ignore_ascii_case(common))
}
