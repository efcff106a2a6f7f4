//! The checkpoint's format: how far each file of a node has been read and acknowledged.
//! Promises: what was written in whole comes back as it was; anything else (torn, zeroed, of a later version) is an error
//! that says so, never a wrong position. Version 1, which knew no node, and version 2, which knew no
//! milestones, are read; version 3 is written.

use serde::{Deserialize, Serialize};

use crate::batch::LossRange;
use crate::identity::{FileId, NodeIdentity, OutputStream};
use crate::limits::KEY_HANDOVER_BYTES_MAX;
use crate::milestones::Milestones;
use crate::origin::Origin;

const MAGIC: &str = "cordwood-checkpoint";
const VERSION: u32 = 3;
const VERSION_MIN: u32 = 1;
/// [`FileCheckpoint::marker`] of a file that no longer held what had been read of it: no bytes have this one.
pub const MARKER_OF_OTHERS: u64 = u64::MAX;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// In whose name the positions of plain files were acknowledged; none in version 1.
    #[serde(default)]
    pub node: Option<NodeIdentity>,
    /// The agent stopped with everything acknowledged that it had sent.
    #[serde(default)]
    pub clean: bool,
    /// On the disk their key stays `runs`: versions before wrote it, and an agent that is rolled back reads the file.
    #[serde(rename = "runs")]
    pub logs: Vec<LogCheckpoint>,
}

/// A plain file's stream key had another node in it, or none, when the file was begun. What may have been sent under that
/// key is sent under it again, so that the writer recognizes it; what follows goes under the key of now, as the first of
/// that stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyBefore {
    pub node: Option<NodeIdentity>,
    /// Lines that begin before this position go under that key; `u64::MAX`: not decided yet.
    pub until: u64,
}

impl KeyBefore {
    /// Decides `until` when the file is seen again, `size` bytes long and acknowledged up to `position`: nothing that was
    /// written after the agent before has ended can have been sent by it.
    #[must_use]
    pub fn decided(self, position: u64, size: u64) -> KeyBefore {
        let until = match self.until {
            u64::MAX => size.min(position.saturating_add(KEY_HANDOVER_BYTES_MAX)),
            until => until,
        };
        KeyBefore { until, ..self }
    }

    /// How many of the bytes `given` at `position` go under the key before: to the end of the line that begins before
    /// `until`. `None`: all, that line does not end in them.
    pub fn share_of(&self, given: &[u8], position: u64) -> Option<usize> {
        let last = usize::try_from(self.until.saturating_sub(position)).unwrap_or(usize::MAX).checked_sub(1);
        let Some(last) = last else { return Some(0) };
        Some(last + memchr::memchr(b'\n', given.get(last..)?)? + 1)
    }
}

/// One container log: the files of one run of one container, or of one path outside of `/var/log/pods`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogCheckpoint {
    /// `<pod uid>/<container>/<restart count>`, or `file:<path>`.
    pub key: String,
    /// Whose it is, as it was last known: holds when the pod is gone or the cluster cannot be asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
    /// Of a container's: what its path says. It holds also where nobody ever said whose the pod is.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub pod: String,
    /// Oldest first.
    pub files: Vec<FileCheckpoint>,
    /// Of files that began with the same line, one after the other: the id of that line, the id of the last such file.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub generations: Vec<(FileId, FileId)>,
    /// Of a plain path: older files that were last written to later than this are to be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since_ns: Option<i64>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
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
    /// `ends` are those of an earlier stream key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_before: Option<KeyBefore>,
    /// Behind `position`, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cuts: Vec<Cut>,
    /// Up to `position`; none in earlier versions, and none of a file that is done.
    #[serde(default, skip_serializing_if = "Milestones::is_empty")]
    pub milestones: Milestones,
    /// Where more was read than is acknowledged: up to there, and what `marker` is for that place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ahead: Option<(u64, u64)>,
}

/// Here something went unfinished that may go on behind it. An agent that reads the file again ends it at the same place: its end
/// would lie elsewhere otherwise, and the writer would not recognize it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Cut {
    /// The file had been read up to here.
    pub at: u64,
    pub what: CutOf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CutOf {
    /// The unfinished record of this output.
    Record(OutputStream),
    /// The line that has no newline before that place.
    Line,
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

impl FileCheckpoint {
    /// What is lost of a file that is not there any more. Also where all was read that it was known to hold: it was not at
    /// its end, so more may have been written to it, and nobody can say how much.
    pub fn lost_when_gone(&self, reason: &str) -> Option<LossRange> {
        let bytes = self.size.saturating_sub(self.position);
        (!self.done).then(|| LossRange {
            from: self.position,
            bytes,
            exact: false,
            reason: reason.to_owned(),
        })
    }
}

impl LogCheckpoint {
    /// Its files lie outside of `/var/log/pods`.
    pub fn is_plain(&self) -> bool {
        self.key.starts_with("file:")
    }
}

impl Checkpoint {
    /// The checkpoint as the agent of `node` goes on with it.
    #[must_use]
    pub fn taken_over_by(mut self, node: &NodeIdentity) -> Checkpoint {
        if self.node.as_ref() != Some(node) {
            let until = if self.clean { 0 } else { u64::MAX };
            for log in self.logs.iter_mut().filter(|log| log.is_plain()) {
                for file in &mut log.files {
                    file.key_before.get_or_insert_with(|| KeyBefore { node: self.node.clone(), until });
                }
            }
        }
        Checkpoint { node: Some(node.clone()), clean: false, ..self }
    }

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
        if !(VERSION_MIN..=VERSION).contains(&version) {
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

    fn milestones() -> Milestones {
        let mut milestones = Milestones::default();
        milestones.add(3, b"\nx\n");
        milestones.add(9, b"\nyy\n");
        milestones
    }

    fn sample(position: u64) -> Checkpoint {
        Checkpoint {
            node: Some(NodeIdentity::new("n", 7)),
            clean: true,
            logs: vec![LogCheckpoint {
                key: "uid/app/0".to_owned(),
                origin: Some(Origin { namespace: "shop".to_owned(), ..Origin::default() }),
                namespace: "shop".to_owned(),
                pod: "web-1".to_owned(),
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
                    key_before: Some(KeyBefore { node: None, until: position }),
                    cuts: vec![Cut { at: position, what: CutOf::Record(OutputStream::Stderr) }],
                    milestones: milestones(),
                    ahead: Some((position, 4)),
                }],
                generations: vec![(FileId(1), FileId(2))],
                since_ns: Some(5),
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
        let later = String::from_utf8(whole).unwrap().replacen(" 3 ", " 4 ", 1);
        assert_eq!(Checkpoint::decode(later.as_bytes()), Err(CheckpointError::Version(4)));
    }

    /// As the program before wrote it.
    #[test]
    fn version_1_is_taken_over() {
        let file =
            r#"{"file":7,"name":"a.log","dev":1,"ino":2,"position":90,"marker":3,"ends":[90,0],"size":100}"#;
        let body = format!(
            r#"{{"runs":[{{"key":"file:/log/a.log","files":[{file}]}},{{"key":"uid/app/0","files":[{file}]}}]}}"#
        );
        let crc = crc32fast::hash(body.as_bytes());
        let bytes = format!("cordwood-checkpoint 1 {crc:08x} {}\n{body}", body.len());
        let decoded = Checkpoint::decode(bytes.as_bytes()).unwrap();
        assert_eq!((decoded.node.as_ref(), decoded.clean), (None, false));
        let node = NodeIdentity::new("n", 7);
        let taken = decoded.taken_over_by(&node);
        let before = |taken: &Checkpoint, log: usize| taken.logs[log].files[0].key_before.clone();
        assert_eq!(before(&taken, 0), Some(KeyBefore { node: None, until: u64::MAX }));
        assert_eq!(before(&taken, 1), None, "a pod is on one node");
        assert_eq!(taken.clone().taken_over_by(&node), taken, "its own is as it was");
        let renamed = taken.clone().taken_over_by(&NodeIdentity::new("m", 7));
        assert_eq!(
            before(&renamed, 0),
            before(&taken, 0),
            "the key is the one that the file was begun under"
        );
    }

    /// As the program before wrote it.
    #[test]
    fn version_2_is_taken_over() {
        let body = r#"{"node":"n@0000000000000007","clean":true,"runs":[{"key":"uid/app/0","namespace":"shop","pod":"web-1",
            "files":[{"file":7,"name":"0.log","dev":1,"ino":2,"position":90,"marker":3,"ends":[90,0],"size":100,"done":false,
            "cuts":[{"at":95,"what":{"record":"stderr"}},{"at":99,"what":"line"}]}],"since_ns":5}]}"#;
        let crc = crc32fast::hash(body.as_bytes());
        let bytes = format!("cordwood-checkpoint 2 {crc:08x} {}\n{body}", body.len());
        let decoded = Checkpoint::decode(bytes.as_bytes()).unwrap();
        let node = NodeIdentity::new("n", 7);
        assert_eq!((decoded.node.as_ref(), decoded.clean), (Some(&node), true));
        let file = &decoded.logs[0].files[0];
        let cut = |at, what| Cut { at, what };
        assert_eq!(file.cuts, [cut(95, CutOf::Record(OutputStream::Stderr)), cut(99, CutOf::Line)]);
        assert_eq!((file.position, file.size, file.ahead), (90, 100, None));
        assert!(file.milestones.is_empty(), "nothing is known of what was read");
        let again = Checkpoint::decode(&decoded.encode()).unwrap();
        assert_eq!(again, decoded);
    }

    #[test]
    fn what_is_lost_of_a_file_that_is_gone() {
        let file =
            |position, size, done| FileCheckpoint { size, done, ..sample(position).logs[0].files[0].clone() };
        let lost = |file: FileCheckpoint| {
            file.lost_when_gone("gone").map(|loss| (loss.from, loss.bytes, loss.exact))
        };
        assert_eq!(lost(file(40, 100, false)), Some((40, 60, false)));
        assert_eq!(lost(file(100, 100, false)), Some((100, 0, false)), "its process may have written on");
        assert_eq!(lost(file(100, 90, false)), Some((100, 0, false)));
        assert_eq!(lost(file(100, 100, true)), None, "nothing more could come");
    }

    #[test]
    fn after_a_clean_stop_nothing_goes_under_the_key_before() {
        let mut checkpoint = sample(5);
        checkpoint.logs[0].key = "file:/a".to_owned();
        checkpoint.logs[0].files[0].key_before = None;
        let until = |checkpoint: &Checkpoint| {
            let taken = checkpoint.clone().taken_over_by(&NodeIdentity::new("m", 7));
            taken.logs[0].files[0].key_before.clone().map(|before| before.until)
        };
        assert_eq!(until(&checkpoint), Some(0));
        checkpoint.clean = false;
        assert_eq!(until(&checkpoint), Some(u64::MAX));
    }

    #[test]
    fn which_bytes_go_under_the_key_before() {
        let undecided = KeyBefore { node: None, until: u64::MAX };
        assert_eq!(undecided.clone().decided(10, 100).until, 100);
        assert_eq!(undecided.decided(10, u64::MAX).until, 10 + KEY_HANDOVER_BYTES_MAX);
        let before = KeyBefore { node: None, until: 20 }.decided(10, 100);
        assert_eq!(before.until, 20, "decided once");
        let given = b"0123456\n89\nabcdefghi\n";
        for (position, share) in [
            (0, Some(21)),
            (9, Some(11)),
            (10, Some(11)),
            (12, Some(8)),
            (13, Some(8)),
            (20, Some(0)),
            (25, Some(0)),
        ] {
            assert_eq!(before.share_of(given, position), share, "at {position}");
        }
        assert_eq!(before.share_of(b"no end", 15), None);
        assert_eq!(before.share_of(b"short\n", 0), None);
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
