//! The checkpoint's format: how far each file of a node has been read and acknowledged.
//! Promises: what was written in whole comes back as it was; anything else (torn, zeroed, of a later version) is an error
//! that says so, never a wrong position.

use serde::{Deserialize, Serialize};

use crate::identity::FileId;
use crate::origin::Origin;

const MAGIC: &str = "cordwood-checkpoint";
const VERSION: u32 = 1;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    pub runs: Vec<RunCheckpoint>,
}

/// One run of one container (or one path outside of `/var/log/pods`): the files of one stream pair.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunCheckpoint {
    /// `<pod uid>/<container>/<restart>`, or `file:<path>`.
    pub key: String,
    /// Whose it is, as it was last known: holds when the pod is gone or the cluster cannot be asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
    /// Oldest first.
    pub files: Vec<FileCheckpoint>,
    /// Of files that began with the same line, one after the other: the id of that line, the id of the last such file.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub generations: Vec<(FileId, FileId)>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileCheckpoint {
    pub file: FileId,
    /// The name it had; a hint for people, not its identity.
    pub name: String,
    pub dev: u64,
    pub ino: u64,
    /// Every byte before it is accounted for and acknowledged, and no unfinished record begins before it.
    pub position: u64,
    /// XXH3-64 of the up to [`crate::limits::MARKER_BYTES`] bytes before `position`.
    pub marker: u64,
    /// End of the last acknowledged batch of stdout and stderr: `prev` of the next.
    pub ends: [u64; 2],
    /// The largest size seen.
    pub size: u64,
    /// Read to its end, and nothing more can come.
    #[serde(default)]
    pub done: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    #[error("decode checkpoint: it does not begin as one")]
    NotOne,
    #[error("decode checkpoint: it is of version {0}, this program knows {VERSION}")]
    Version(u32),
    #[error("decode checkpoint: it is torn: {0}")]
    Torn(&'static str),
    #[error("decode checkpoint: {0}")]
    Content(String),
}

impl Checkpoint {
    /// One line `cordwood-checkpoint <version> <crc32> <bytes>`, then that many bytes of JSON.
    pub fn encode(&self) -> Vec<u8> {
        // Plain structs with string keys: serialization into memory cannot fail.
        let body = serde_json::to_vec(self).unwrap_or_default();
        let mut out =
            format!("{MAGIC} {VERSION} {:08x} {}\n", crc32fast::hash(&body), body.len()).into_bytes();
        out.extend_from_slice(&body);
        out
    }

    /// # Errors
    /// When it is not exactly what [`Checkpoint::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Result<Checkpoint, CheckpointError> {
        let head = bytes.iter().take(64).position(|byte| *byte == b'\n').ok_or(CheckpointError::NotOne)?;
        let line = std::str::from_utf8(&bytes[..head]).map_err(|_| CheckpointError::NotOne)?;
        let mut words = line.split(' ');
        if words.next() != Some(MAGIC) {
            return Err(CheckpointError::NotOne);
        }
        let version = words.next().and_then(|word| word.parse().ok()).ok_or(CheckpointError::NotOne)?;
        if version != VERSION {
            return Err(CheckpointError::Version(version));
        }
        let crc = words.next().and_then(|word| u32::from_str_radix(word, 16).ok());
        let len = words.next().and_then(|word| word.parse::<usize>().ok());
        let body = &bytes[head + 1..];
        if len != Some(body.len()) {
            return Err(CheckpointError::Torn("its length differs"));
        }
        if crc != Some(crc32fast::hash(body)) {
            return Err(CheckpointError::Torn("its checksum differs"));
        }
        serde_json::from_slice(body).map_err(|error| CheckpointError::Content(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sample(position: u64) -> Checkpoint {
        Checkpoint {
            runs: vec![RunCheckpoint {
                key: "uid/app/0".to_owned(),
                origin: Some(Origin { namespace: "shop".to_owned(), ..Origin::default() }),
                files: vec![FileCheckpoint {
                    file: FileId(u64::MAX),
                    name: "0.log".to_owned(),
                    dev: 1,
                    ino: 2,
                    position,
                    marker: u64::MAX - 1,
                    ends: [position, 0],
                    size: position,
                    done: false,
                }],
                generations: vec![(FileId(1), FileId(2))],
            }],
        }
    }

    #[test]
    fn what_is_not_whole_is_an_error() {
        let whole = sample(9).encode();
        assert_eq!(Checkpoint::decode(&whole), Ok(sample(9)));
        assert_eq!(Checkpoint::decode(b""), Err(CheckpointError::NotOne));
        assert_eq!(Checkpoint::decode(&vec![0; whole.len()]), Err(CheckpointError::NotOne));
        assert_eq!(
            Checkpoint::decode(&whole[..whole.len() - 1]),
            Err(CheckpointError::Torn("its length differs"))
        );
        let later = String::from_utf8(whole).unwrap().replacen(" 1 ", " 2 ", 1);
        assert_eq!(Checkpoint::decode(later.as_bytes()), Err(CheckpointError::Version(2)));
    }

    proptest! {
        #[test]
        fn decode_inverts_encode_and_any_changed_byte_is_noticed(
            position in any::<u64>(), at in any::<prop::sample::Index>(), bit in 0..8u8,
        ) {
            let checkpoint = sample(position);
            let mut bytes = checkpoint.encode();
            prop_assert_eq!(Checkpoint::decode(&bytes), Ok(checkpoint.clone()));
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            // A changed case of a checksum's digit is the same number.
            if let Ok(decoded) = Checkpoint::decode(&bytes) {
                prop_assert_eq!(decoded, checkpoint);
            }
        }

        #[test]
        fn never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Checkpoint::decode(&bytes);
        }
    }
}
