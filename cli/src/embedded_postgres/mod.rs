//! Runs a PostgreSQL of its own in a data folder: finds, initialises and starts it. All `cordwood` processes on the folder share it. A keeper
//! process (see `keeper`) stops it when the last of them is gone, however that one ended.

mod binaries;
mod folder;
mod keeper;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

pub use folder::{Folder, default_data_dir};
pub use keeper::run as run_keeper;

/// The name of the hidden subcommand that runs the keeper.
pub const KEEPER_COMMAND: &str = "postgres-keeper";

#[derive(Debug, thiserror::Error)]
pub enum EmbeddedError {
    #[error("{operation} {}: {source}", path.display())]
    Io { operation: &'static str, path: PathBuf, source: std::io::Error },
    #[error(
        "no PostgreSQL 15 to 18 on this machine (looked for initdb and postgres in {looked}): install it (Debian, Ubuntu: \
         `apt install postgresql`; Fedora: `dnf install postgresql-server`; macOS: `brew install postgresql@17`), set \
         CORDWOOD_POSTGRES_BIN to the folder with its programs, or give --database-url"
    )]
    NoBinaries { looked: String },
    #[error(
        "{} was made by PostgreSQL {wanted}, and here is only {found}: install PostgreSQL {wanted} (Debian, Ubuntu: \
         `apt install postgresql-{wanted}`), or choose another --data-dir", path.display()
    )]
    OtherVersion { path: PathBuf, wanted: u32, found: String },
    #[error(
        "PostgreSQL does not run as root, and there is no user `postgres` or `nobody` to run it as: run cordwood as an \
         ordinary user, or create one of them"
    )]
    NoUser,
    #[error(
        "the user `{user}`, as whom PostgreSQL has to run here, may not enter {}: choose a --data-dir outside of it (for \
         example /var/lib/cordwood), or run cordwood as an ordinary user", path.display()
    )]
    Unreachable { user: String, path: PathBuf },
    #[error("there is no data folder at {} yet: `cordwood standalone` makes one", path.display())]
    NoFolder { path: PathBuf },
    #[error("{program} failed: {message}")]
    Program { program: &'static str, message: String },
    #[error("PostgreSQL in {} did not start: {message} (its log: {})", path.display(), log.display())]
    NotStarted { path: PathBuf, message: String, log: PathBuf },
}

/// A running PostgreSQL. As long as this value lives it is kept running; after the last one it is stopped.
#[derive(Debug)]
pub struct Embedded {
    folder: Folder,
    /// Holds the shared lock.
    _users: File,
}

impl Embedded {
    /// Starts PostgreSQL in `data_dir`, or joins the one that runs there. `create`: make the folder when there is none.
    /// Blocks for the time of the start (the first one, with initdb: a second or two).
    ///
    /// # Errors
    /// One message that says what to install, to choose or to read.
    pub fn start(data_dir: &Path, create: bool) -> Result<Embedded, EmbeddedError> {
        let folder = Folder::open(data_dir, create)?;
        // While a keeper stops PostgreSQL it holds this lock exclusively; then this waits until it is down.
        let users = folder.lock_shared()?;
        let embedded = Embedded { folder, _users: users };
        embedded.ensure_running()?;
        Ok(embedded)
    }

    /// Starts the server again should it have ended by itself (a crash, the out-of-memory killer). Blocks as `start` does.
    ///
    /// # Errors
    /// As [`Embedded::start`].
    pub fn ensure_running(&self) -> Result<(), EmbeddedError> {
        let folder = &self.folder;
        if folder.answers() && folder.has_keeper() {
            return Ok(());
        }
        let _starting = folder.lock_start()?;
        if !folder.answers() {
            folder.binaries()?;
            folder.initialise()?;
            let log_from = std::fs::metadata(folder.log_file()).map_or(0, |metadata| metadata.len());
            let ended = keeper::spawn(folder)?;
            folder.wait_until_it_answers(Duration::from_secs(60), &ended, log_from)?;
        } else if !folder.has_keeper() {
            // Somebody killed the keeper: a new one takes the running server over.
            keeper::spawn(folder)?;
        }
        Ok(())
    }

    /// With the password in it: never printed, only connected to.
    pub fn url(&self) -> &str {
        &self.folder.url
    }

    /// What a person does to look with SQL: the URL is read from a file that only this user may read.
    pub fn psql_hint(&self) -> String {
        format!("psql \"$(cat {})\"", shell_quote(&self.folder.url_file().display().to_string()))
    }

    /// Releases the server. If nobody else uses it, waits (up to 30 s) until it has shut down cleanly.
    pub fn stop(self) {
        let Embedded { folder, _users } = self;
        drop(_users);
        keeper::hurry(&folder);
        let deadline = Instant::now() + Duration::from_secs(30);
        while folder.has_keeper() && !folder.is_used_by_others() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

fn shell_quote(text: &str) -> String {
    if text.bytes().all(|b| b.is_ascii_alphanumeric() || b"/._-".contains(&b)) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

pub(crate) fn io_error<'a>(
    operation: &'static str,
    path: &'a Path,
) -> impl FnOnce(std::io::Error) -> EmbeddedError + 'a {
    move |source| EmbeddedError::Io { operation, path: path.to_owned(), source }
}
