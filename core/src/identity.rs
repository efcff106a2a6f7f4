//! A line's identity is where it lies: which stream, which file of it, and the byte position just past its end.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Which of a container's two outputs a line came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OutputStream {
    Stdout,
    Stderr,
}

impl OutputStream {
    pub fn as_str(self) -> &'static str {
        match self {
            OutputStream::Stdout => "stdout",
            OutputStream::Stderr => "stderr",
        }
    }
}

/// Who reads a node's plain files: `<node name>@<16 hex digits>`. The digits are drawn once for a state folder, so a node
/// that was built again under the same name is another one, and so are two nodes that were cloned from one image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NodeIdentity(String);

impl NodeIdentity {
    pub fn new(name: &str, drawn: u64) -> NodeIdentity {
        let name = &name[..name.floor_char_boundary(crate::limits::NAME_BYTES_MAX)];
        // The identity ends where the path begins.
        let name = name.replace(|c: char| c == '/' || c.is_control(), "_");
        NodeIdentity(format!("{name}@{drawn:016x}"))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// One container's stdout or stderr, for one run of that container: `<pod uid>/<container>/<restart count>/<stdout|stderr>`.
/// A file outside `/var/log/pods` is `file:<node identity><path>/stdout` (it has one output): every node may have a file of
/// that path, also one that begins with the same line. Also the Kafka message key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StreamKey(pub String);

impl StreamKey {
    pub fn of_container(pod_uid: &str, container: &str, restart_count: u32, io: OutputStream) -> StreamKey {
        StreamKey(format!("{pod_uid}/{container}/{restart_count}/{}", io.as_str()))
    }

    /// A path that is too long for a key is cut and ends with its hash. `node`: absent in the keys of agents that wrote
    /// checkpoints of version 1; all nodes shared these.
    pub fn of_file(node: Option<&NodeIdentity>, path: &str, io: OutputStream) -> StreamKey {
        let Some(node) = node else { return StreamKey(format!("file:{path}/{}", io.as_str())) };
        let room = crate::limits::STREAM_BYTES_MAX - "file:".len() - node.0.len() - "/stdout".len();
        if path.len() <= room {
            return StreamKey(format!("file:{}{path}/{}", node.0, io.as_str()));
        }
        let hash = format!("~{:016x}", xxhash_rust::xxh3::xxh3_64(path.as_bytes()));
        let cut = &path[..path.floor_char_boundary(room - hash.len())];
        StreamKey(format!("file:{}{cut}{hash}/{}", node.0, io.as_str()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for StreamKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Fingerprint of a file, from its content alone: XXH3-64 of its first line (newline included), or of its first
/// [`crate::limits::FINGERPRINT_BYTES_MAX`] bytes when the first line is longer. A file without a whole first line and
/// shorter than that has none yet. The same after a lost checkpoint, on another agent, and for a gunzipped copy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FileId(pub u64);

impl FileId {
    /// `head`: the file's first bytes, at least [`crate::limits::FINGERPRINT_BYTES_MAX`] of them if it has that many.
    pub fn of_head(head: &[u8]) -> Option<FileId> {
        let head = &head[..head.len().min(crate::limits::FINGERPRINT_BYTES_MAX)];
        match memchr::memchr(b'\n', head) {
            Some(newline) => Some(FileId(xxhash_rust::xxh3::xxh3_64(&head[..=newline]))),
            None if head.len() == crate::limits::FINGERPRINT_BYTES_MAX => {
                Some(FileId(xxhash_rust::xxh3::xxh3_64(head)))
            }
            None => None,
        }
    }

    /// Of a file that ended before it had a fingerprint: `content` is all of it.
    pub fn of_whole(content: &[u8]) -> FileId {
        FileId(xxhash_rust::xxh3::xxh3_64(content))
    }

    /// The id of what a file holds after it was emptied and began with the same line again: content alone cannot tell
    /// the two apart, so this one also depends on what was known before.
    #[must_use]
    pub fn successor(self) -> FileId {
        FileId(xxhash_rust::xxh3::xxh3_64(&self.0.to_le_bytes()))
    }
}

impl fmt::Display for FileId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// A record's permanent id, made from where its message lies in Kafka: no sequence, the same after a replay.
/// Ordered, so that (timestamp, id) is a total order; shown as `<topic partition>-<kafka offset>-<index>` in hex.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordId {
    pub topic_partition: u32,
    pub kafka_offset: u64,
    /// The record's place in its message, from 0.
    pub index: u32,
}

impl fmt::Display for RecordId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}-{:x}-{:x}", self.topic_partition, self.kafka_offset, self.index)
    }
}

impl std::str::FromStr for RecordId {
    type Err = RecordIdError;

    fn from_str(text: &str) -> Result<RecordId, RecordIdError> {
        let error = || RecordIdError(text.to_owned());
        let mut parts = text.split('-');
        let mut next = || parts.next().ok_or_else(error);
        let (partition, offset, index) = (next()?, next()?, next()?);
        if parts.next().is_some() {
            return Err(error());
        }
        Ok(RecordId {
            topic_partition: u32::from_str_radix(partition, 16).map_err(|_| error())?,
            kafka_offset: u64::from_str_radix(offset, 16).map_err(|_| error())?,
            index: u32::from_str_radix(index, 16).map_err(|_| error())?,
        })
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("record id {0:?} is not of the form <topic partition>-<kafka offset>-<index> in hexadecimal")]
pub struct RecordIdError(pub String);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::STREAM_BYTES_MAX;

    #[test]
    fn a_file_is_of_its_node() {
        let key = |name: &str, drawn, path: &str| {
            StreamKey::of_file(Some(&NodeIdentity::new(name, drawn)), path, OutputStream::Stdout)
        };
        assert_eq!(key("a", 7, "/log/x").as_str(), "file:a@0000000000000007/log/x/stdout");
        assert_eq!(StreamKey::of_file(None, "/log/x", OutputStream::Stdout).as_str(), "file:/log/x/stdout");
        assert_ne!(key("a", 7, "/x"), key("b", 7, "/x"), "two nodes");
        assert_ne!(key("a", 7, "/x"), key("a", 8, "/x"), "a node that was rebuilt");
        assert_ne!(key("a/x", 7, "/y"), key("a", 7, "/x/y"));
        let long = |end: &str| key(&"n".repeat(300), 7, &format!("/{}{end}", "\u{e9}".repeat(1_000)));
        assert!(long("a").as_str().len() <= STREAM_BYTES_MAX);
        assert_ne!(long("a"), long("b"), "cut paths are told apart");
        assert!(key("n", 7, &format!("/{}", "p".repeat(990))).as_str().len() <= STREAM_BYTES_MAX);
    }
}
