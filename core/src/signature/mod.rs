//! Which error a record tells of, so that its like are counted as one group.
//! Promises: the same body gives the same signature in every build that knows its version; any bytes are read (no panic, no
//! recursion, linear time, bounded output); a number, id, address, time or quoted text in a message changes nothing.
//!
//! A signature is its version, `v2:`, and a hash: of the `fingerprint` that the body names; else of the error's type and its five
//! topmost frames in the application's own code, without line numbers; else of its type and its generalised message. The service is
//! not in it. A change of any rule here is a new version: groups that are stored are never given another signature, and the rules of
//! the version before are kept, so that a signature of either is found.

mod behind;
mod counted;
mod error;
mod frames;
mod generalise;
mod in_app;
mod layout;
mod logfmt;
mod marks;
mod names;
mod out;
mod slots;
mod times;
mod values;
mod word;
mod words;

use std::fmt;
use std::str::FromStr;

use xxhash_rust::xxh3::xxh3_64;

use crate::level::Level;
use crate::record::Record;

/// Frames that a signature is made of.
const FRAMES_MAX: usize = 5;

/// Room for what most signatures are made of.
const HASHED_BYTES_USUAL: usize = 256;

/// Whose rules gave a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    V1 = 1,
    V2 = 2,
}

impl Version {
    /// What records are grouped by now.
    pub const NOW: Version = Version::V2;

    const ALL: [(Version, &str); 2] = [(Version::V1, "v1:"), (Version::V2, "v2:")];

    fn prefix(self) -> &'static str {
        Self::ALL[self as usize - 1].1
    }
}

/// The name of a group of errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Signature {
    hash: u64,
    version: Version,
}

impl Signature {
    /// What is counted together because a tenant has too many groups within a minute. It is the same in each version.
    pub const OTHER: Signature = Signature { hash: 0, version: Version::NOW };

    /// As a column of PostgreSQL holds it, beside the version's number. (Two versions never give the same.)
    pub fn as_i64(self) -> i64 {
        self.hash.cast_signed()
    }

    pub fn version(self) -> Version {
        self.version
    }

    /// From both columns. A number that this build does not know is a newer version's: it is shown as the newest.
    pub fn from_columns(value: i64, version: i16) -> Signature {
        let version = if version == Version::V1 as i16 { Version::V1 } else { Version::NOW };
        let hash = value.cast_unsigned();
        if hash == 0 { Signature::OTHER } else { Signature { hash, version } }
    }
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.version.prefix())?;
        if self.hash == 0 { f.write_str("other") } else { write!(f, "{:016x}", self.hash) }
    }
}

/// A text that is no signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a signature is `v2:` or `v1:` and 16 hexadecimal digits, or `v2:other`")]
pub struct NoSignature;

impl FromStr for Signature {
    type Err = NoSignature;

    fn from_str(text: &str) -> Result<Signature, NoSignature> {
        let mut named =
            Version::ALL.iter().filter_map(|(version, prefix)| Some((*version, text.strip_prefix(prefix)?)));
        let (version, name) = named.next().ok_or(NoSignature)?;
        if name == "other" {
            return Ok(Signature::OTHER);
        }
        let digits = name.len() == 16 && name.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        let value = u64::from_str_radix(name, 16).ok().filter(|value| digits && *value != 0);
        value.map(|hash| Signature { hash, version }).ok_or(NoSignature)
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

/// Whether a record is of this group, by the rules of the group's version.
pub fn is_of(record: &Record<'_>, signature: Signature) -> bool {
    is_grouped(record.level) && error_group_by(record.body, signature.version).signature == signature
}

/// The message without what changes from record to record, at most `SIGNATURE_MESSAGE_BYTES_MAX` bytes.
pub fn generalise(message: &str) -> String {
    generalise::generalise(message, Version::NOW)
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
    error_group_by(body, Version::NOW)
}

/// The group by the rules of a version.
pub fn error_group_by(body: &[u8], version: Version) -> ErrorGroup {
    let error = error::read(body, version);
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
    let message = generalise::generalise(message, version);
    let frames = trace.frames;
    let signature = match &error.fingerprint {
        Some(fingerprint) => hash(version, b"fingerprint", [fingerprint.as_str()]),
        None if frames.is_empty() => hash(version, b"message", [error_type.as_str(), message.as_str()]),
        None => {
            let parts = [error_type.as_str()].into_iter().chain(frames.iter().map(String::as_str));
            hash(version, b"frames", parts)
        }
    };
    ErrorGroup { signature, error_type, message, frames }
}

/// A part that ends where the next begins would be the same as another pair of parts: a byte that no UTF-8 text has parts them. What
/// two versions read alike is two signatures all the same: what each counted is what its own rules find.
fn hash<'a>(version: Version, kind: &[u8], parts: impl IntoIterator<Item = &'a str>) -> Signature {
    let mut bytes = Vec::with_capacity(HASHED_BYTES_USUAL);
    if version > Version::V1 {
        bytes.extend_from_slice(version.prefix().as_bytes());
    }
    bytes.extend_from_slice(kind);
    for part in parts {
        bytes.push(0xff);
        bytes.extend_from_slice(part.as_bytes());
    }
    Signature { hash: xxh3_64(&bytes).max(1), version }
}

#[cfg(test)]
mod figures {
    //! How lines of real programs are grouped, against the groups that people gave them: the figures are printed.

    #[test]
    #[allow(clippy::print_stdout, reason = "the figures are what people run it for")]
    fn real_lines_are_grouped_as_people_group_them() {
        let ([all, errors, others, more], report) = super::tests::measured();
        println!("{report}");
        assert!(all.precision >= 0.99 && all.recall >= 0.95, "{report}");
        assert!(errors.precision >= 0.99 && errors.recall >= 0.95, "{report}");
        assert!(others.precision >= 0.99 && others.recall >= 0.95, "{report}");
        assert!(more.precision >= 0.99 && more.recall >= 0.5, "{report}");
    }
}
#[cfg(test)]
mod laws;
#[cfg(test)]
mod tests;
