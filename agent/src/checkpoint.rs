//! The checkpoint on disk: one small file, replaced as a whole.
//! Promises: only a checkpoint that was written completely is used. Any other is set aside with a line in the log, and all files
//! are read from their beginnings (the writer skips what it has stored).

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use cordwood_core::checkpoint::Checkpoint;

const NAME: &str = "checkpoint";

/// What was found at start.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Loaded {
    pub checkpoint: Checkpoint,
    /// There was one that could not be used.
    pub torn: bool,
}

/// # Errors
/// When the folder cannot be made or read: without it no progress could be kept.
pub fn load(folder: &Path) -> io::Result<Loaded> {
    fs::create_dir_all(folder)?;
    let path = folder.join(NAME);
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Loaded::default()),
        Err(error) => return Err(error),
    };
    match Checkpoint::decode(&bytes) {
        Ok(checkpoint) => Ok(Loaded { checkpoint, torn: false }),
        Err(error) => {
            let aside = folder.join("checkpoint.unusable");
            tracing::error!(%error, checkpoint = %path.display(), aside = %aside.display(),
                "the checkpoint cannot be used; all files are read from their beginnings");
            fs::rename(&path, &aside)?;
            Ok(Loaded { checkpoint: Checkpoint::default(), torn: true })
        }
    }
}

/// Writes it so that a crash at any moment leaves the old one or the new one.
///
/// # Errors
/// Disk full, no permission, ...; the old one is still there then.
pub fn store(folder: &Path, bytes: &[u8]) -> io::Result<()> {
    replace(folder, NAME, bytes)
}

/// Writes a small file as a whole, by way of `<name>.new`.
pub fn replace(folder: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let new = folder.join(format!("{name}.new"));
    let mut file = File::create(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&new, folder.join(name))?;
    File::open(folder)?.sync_all()
}

/// Writes checkpoints on a thread of its own, so that a slow disk does not hold up reading. Only the newest counts.
pub struct Writer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    folder: PathBuf,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    next: Option<Vec<u8>>,
    writing: bool,
    stop: bool,
    written: u64,
    errors: u64,
}

impl Writer {
    /// # Errors
    /// When no thread can be started.
    pub fn start(folder: PathBuf) -> io::Result<Writer> {
        let shared = Arc::new(Shared::default());
        let (theirs, place) = (Arc::clone(&shared), folder.clone());
        let thread = std::thread::Builder::new()
            .name("checkpoint".to_owned())
            .spawn(move || write_all(&theirs, &place))?;
        Ok(Writer { shared, thread: Some(thread), folder })
    }

    pub fn put(&self, bytes: Vec<u8>) {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner).next = Some(bytes);
        self.shared.changed.notify_all();
    }

    /// The same, and waits until it is on the disk (or cannot be written). False: the disk takes longer than `at_most`.
    pub fn put_and_wait(&self, bytes: Vec<u8>, at_most: Duration) -> bool {
        self.put(bytes);
        let state = self.shared.state.lock().unwrap_or_else(PoisonError::into_inner);
        let unwritten = |state: &mut State| state.next.is_some() || state.writing;
        let waited = self.shared.changed.wait_timeout_while(state, at_most, unwritten);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }

    /// How many were written, and how many could not be, since the last question.
    pub fn counts(&self) -> (u64, u64) {
        let mut state = self.shared.state.lock().unwrap_or_else(PoisonError::into_inner);
        (std::mem::take(&mut state.written), std::mem::take(&mut state.errors))
    }

    /// The last one, before the process ends.
    ///
    /// # Errors
    /// As [`store`].
    pub fn finish(mut self, bytes: &[u8]) -> io::Result<()> {
        self.stop();
        store(&self.folder, bytes)
    }

    fn stop(&mut self) {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner).stop = true;
        self.shared.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.stop();
    }
}

fn write_all(shared: &Shared, folder: &Path) {
    let mut failing = false;
    loop {
        let mut state = shared.state.lock().unwrap_or_else(PoisonError::into_inner);
        while state.next.is_none() && !state.stop {
            state = shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let Some(bytes) = state.next.take() else { return };
        state.writing = true;
        drop(state);
        let result = store(folder, &bytes);
        let mut state = shared.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.writing = false;
        shared.changed.notify_all();
        match result {
            Ok(()) => {
                state.written += 1;
                failing = false;
            }
            Err(error) => {
                state.errors += 1;
                if !std::mem::replace(&mut failing, true) {
                    tracing::error!(folder = %folder.display(), %error, "write checkpoint");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_waited_for_is_on_the_disk() {
        let folder = tempfile::tempdir().unwrap();
        let writer = Writer::start(folder.path().to_owned()).unwrap();
        for number in 0..20_u8 {
            writer.put(vec![0]);
            assert!(writer.put_and_wait(vec![number], Duration::from_secs(10)));
            assert_eq!(fs::read(folder.path().join(NAME)).unwrap(), [number]);
        }
    }

    #[test]
    fn a_torn_one_is_set_aside() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(load(folder.path()).unwrap(), Loaded::default());
        let bytes = Checkpoint::default().encode();
        store(folder.path(), &bytes).unwrap();
        assert!(!load(folder.path()).unwrap().torn);
        fs::write(folder.path().join(NAME), &bytes[..bytes.len() - 1]).unwrap();
        assert!(load(folder.path()).unwrap().torn);
        assert!(folder.path().join("checkpoint.unusable").exists());
        assert!(!load(folder.path()).unwrap().torn, "only said once");
    }
}
