//! The number that tells this node's plain files from those of every other node: drawn once, kept in the state folder.
//! Promises: it is the same after every restart, also after a torn checkpoint; two state folders never share it.

use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::path::Path;

use cordwood_core::identity::NodeIdentity;

const NAME: &str = "node-id";

/// # Errors
/// When the folder cannot be made, read or written.
pub fn load(folder: &Path, node: &str) -> io::Result<NodeIdentity> {
    fs::create_dir_all(folder)?;
    let path = folder.join(NAME);
    let drawn = match fs::read_to_string(&path) {
        Ok(text) => u64::from_str_radix(text.trim(), 16).ok(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    let drawn = match drawn {
        Some(drawn) => drawn,
        None => {
            // (The standard library's hasher is seeded by the system's random numbers.)
            let drawn = RandomState::new().hash_one(std::process::id());
            crate::checkpoint::replace(folder, NAME, format!("{drawn:016x}\n").as_bytes())?;
            drawn
        }
    };
    Ok(NodeIdentity::new(node, drawn))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_drawn_once_for_a_folder() {
        let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let drawn = load(first.path(), "n").unwrap();
        assert_eq!(load(first.path(), "n").unwrap(), drawn);
        assert_ne!(load(second.path(), "n").unwrap(), drawn, "another state folder");
        assert_ne!(load(first.path(), "m").unwrap(), drawn, "another name");
        fs::write(first.path().join(NAME), "").unwrap();
        assert_ne!(load(first.path(), "n").unwrap(), drawn, "what cannot be read is drawn again");
    }
}
