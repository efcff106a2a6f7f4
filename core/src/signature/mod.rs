//! Which error a record tells of, so that its like are counted as one group.
//! Promises: the same body gives the same signature in every build that says `v1`; any bytes are read (no panic, no recursion,
//! linear time, bounded output); a number, id, address, time or quoted text in a message changes nothing.
//!
//! A signature is `v1:` and a hash: of the `fingerprint` that the body names; else of the error's type and its five topmost
//! frames in the application's own code, without line numbers; else of its type and its generalised message. The service is not in
//! it. A change of any rule here is a new version: groups that are stored are never given another signature.

mod error;
mod frames;
mod generalise;
mod in_app;
mod marks;
mod names;
mod out;
mod times;
mod word;

use std::fmt;
use std::str::FromStr;

use xxhash_rust::xxh3::Xxh3Default;

pub use generalise::generalise;

use crate::level::Level;
use crate::record::Record;

/// Frames that a signature is made of.
const FRAMES_MAX: usize = 5;

/// The name of a group of errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Signature(u64);

impl Signature {
    /// What is counted together because a tenant has too many groups within a minute.
    pub const OTHER: Signature = Signature(0);

    /// As a column of PostgreSQL holds it.
    pub fn as_i64(self) -> i64 {
        self.0.cast_signed()
    }

    pub fn from_i64(value: i64) -> Signature {
        Signature(value.cast_unsigned())
    }
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Signature::OTHER { f.write_str("v1:other") } else { write!(f, "v1:{:016x}", self.0) }
    }
}

/// A text that is no signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a signature is `v1:` and 16 hexadecimal digits, or `v1:other`")]
pub struct NoSignature;

impl FromStr for Signature {
    type Err = NoSignature;

    fn from_str(text: &str) -> Result<Signature, NoSignature> {
        let name = text.strip_prefix("v1:").ok_or(NoSignature)?;
        if name == "other" {
            return Ok(Signature::OTHER);
        }
        let digits = name.len() == 16 && name.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        let value = u64::from_str_radix(name, 16).ok().filter(|value| digits && *value != 0);
        value.map(Signature).ok_or(NoSignature)
    }
}

/// Whether records of this level tell of errors: these are grouped, and have a signature.
pub fn is_grouped(level: Level) -> bool {
    level >= Level::Warn
}

/// The signature of a record of a level that is grouped.
pub fn signature_of(record: &Record<'_>) -> Option<Signature> {
    is_grouped(record.level).then(|| error_group(record.body).signature)
}

/// What a record's error is: its signature, and what a list of groups shows of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorGroup {
    pub signature: Signature,
    /// Without its generic parameters; empty when nobody knows it.
    pub error_type: String,
    /// The generalised message, at most `SIGNATURE_MESSAGE_BYTES_MAX` bytes.
    pub message: String,
    /// The frames that the signature is made of, the topmost first; without any, it is made of the message.
    pub frames: Vec<String>,
}

/// The group of a record with this body.
pub fn error_group(body: &[u8]) -> ErrorGroup {
    let error = error::read(body);
    let mut message: &str = &error.message;
    let mut trace = error.stack.as_deref().map(|stack| frames::read(stack, FRAMES_MAX)).unwrap_or_default();
    if !trace.any && message.contains('\n') {
        trace = frames::read(message, FRAMES_MAX);
        if trace.any {
            message = trace.head;
        }
    }
    let mut error_type = error.error_type;
    if error_type.is_empty() && trace.any {
        error_type = error::type_in_text(trace.head);
    }
    let message = generalise(message);
    let frames = trace.frames;
    let signature = match &error.fingerprint {
        Some(fingerprint) => hash(b"fingerprint", [fingerprint.as_str()]),
        None if frames.is_empty() => hash(b"message", [error_type.as_str(), message.as_str()]),
        None => hash(b"frames", [error_type.as_str()].into_iter().chain(frames.iter().map(String::as_str))),
    };
    ErrorGroup { signature, error_type, message, frames }
}

/// A part that ends where the next begins would be the same as another pair of parts: a byte that no UTF-8 text has parts them.
fn hash<'a>(kind: &[u8], parts: impl IntoIterator<Item = &'a str>) -> Signature {
    let mut hasher = Xxh3Default::new();
    hasher.update(kind);
    for part in parts {
        hasher.update(&[0xff]);
        hasher.update(part.as_bytes());
    }
    Signature(hasher.digest().max(1))
}

#[cfg(test)]
mod figures {
    //! How lines of real programs are grouped, against the groups that people gave them: the figures are printed.

    #[test]
    #[allow(clippy::print_stdout, reason = "the figures are what people run it for")]
    fn real_lines_are_grouped_as_people_group_them() {
        let (all, errors, report) = super::tests::measured();
        println!("{report}");
        assert!(all.precision >= 0.99 && all.recall >= 0.7, "{report}");
        assert!(errors.precision >= 0.99 && errors.recall >= 0.93, "{report}");
    }
}
#[cfg(test)]
mod laws;
#[cfg(test)]
mod tests;
