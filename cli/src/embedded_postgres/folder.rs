//! The data folder: its layout, permissions and locks, and how to reach the server in it.
//!
//! `postgres/` the cluster; `postgres.log`; `database-url` (0600, with the password); `keeper.lock` (the keeper's pid; locked
//! while it lives); `users.lock` (shared by everyone who needs the server); `start.lock`. The server listens on a Unix socket
//! only, in `run/`, or in a folder under /tmp when that path is too long for a socket.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, chown};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};

use super::binaries::{self, Binaries};
use super::{EmbeddedError, io_error};

/// `sun_path` holds 104 bytes on the BSDs, with the closing NUL.
const SOCKET_PATH_BYTES_MAX: usize = 103;
const SOCKET_NAME: &str = ".s.PGSQL.5432";

/// Whom the server runs as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerUser {
    pub name: String,
    pub uid: u32,
    pub gid: u32,
}

pub struct Folder {
    pub path: PathBuf,
    /// With the password in it.
    pub url: String,
    socket_dir: PathBuf,
    /// Set when we are root: the server may not run as root.
    pub user: Option<ServerUser>,
}

/// Without the password.
impl std::fmt::Debug for Folder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Folder({})", self.path.display())
    }
}

/// `$XDG_DATA_HOME/cordwood`, `~/.local/share/cordwood`; for root /var/lib/cordwood, since PostgreSQL cannot run as root and
/// another user cannot enter root's home.
pub fn default_data_dir() -> PathBuf {
    if let Some(dir) = std::env::var_os("XDG_DATA_HOME").filter(|dir| !dir.is_empty()) {
        return PathBuf::from(dir).join("cordwood");
    }
    match std::env::var_os("HOME") {
        Some(home) if !rustix::process::geteuid().is_root() => {
            PathBuf::from(home).join(".local/share/cordwood")
        }
        _ => PathBuf::from("/var/lib/cordwood"),
    }
}

impl Folder {
    /// # Errors
    /// When it is not there (and not to be made), or cannot be made or read.
    pub fn open(path: &Path, create: bool) -> Result<Folder, EmbeddedError> {
        if !create && !path.join("postgres").is_dir() {
            return Err(EmbeddedError::NoFolder { path: path.to_owned() });
        }
        let root = rustix::process::geteuid().is_root();
        // The server's user must pass through the folder; what is secret in it has modes of its own.
        let mode = if root { 0o711 } else { 0o700 };
        let absolute = std::path::absolute(path).map_err(io_error("find", path))?;
        let user = if root { Some(server_user(&absolute)?) } else { None };
        make_dir(path, mode)?;
        let path = path.canonicalize().map_err(io_error("find", path))?;
        let socket_dir = socket_dir(&path);
        let url = url(&path, &socket_dir)?;
        let folder = Folder { path, url, socket_dir, user };
        folder.make_socket_dir()?;
        Ok(folder)
    }

    pub fn cluster(&self) -> PathBuf {
        self.path.join("postgres")
    }

    pub fn log_file(&self) -> PathBuf {
        self.path.join("postgres.log")
    }

    pub fn url_file(&self) -> PathBuf {
        self.path.join("database-url")
    }

    pub fn socket_dir(&self) -> &Path {
        &self.socket_dir
    }

    pub fn binaries(&self) -> Result<Binaries, EmbeddedError> {
        let cluster = self.cluster();
        let made_by = std::fs::read_to_string(cluster.join("PG_VERSION"))
            .ok()
            .and_then(|text| text.trim().parse::<u32>().ok());
        binaries::find(&cluster, made_by)
    }

    /// Whether a server listens on the socket. (A stale socket file of a killed server refuses.)
    pub fn answers(&self) -> bool {
        UnixStream::connect(self.socket_dir.join(SOCKET_NAME)).is_ok()
    }

    /// `keeper_ended`: set when the keeper that was started for this has ended. Complaints in the log count from `log_from`.
    pub fn wait_until_it_answers(
        &self,
        patience: Duration,
        keeper_ended: &AtomicBool,
        log_from: u64,
    ) -> Result<(), EmbeddedError> {
        let deadline = Instant::now() + patience;
        loop {
            // Listening comes before being ready: crash recovery refuses connections, which the caller's connect retries.
            if self.answers() && self.is_ready() {
                return Ok(());
            }
            // One that found another keeper ends too.
            let gone = keeper_ended.load(Ordering::Relaxed) && !self.has_keeper();
            if gone || Instant::now() > deadline {
                let message = last_complaint(&self.log_file(), log_from)
                    .unwrap_or_else(|| format!("no answer within {} s", patience.as_secs()));
                return Err(EmbeddedError::NotStarted {
                    path: self.cluster(),
                    message,
                    log: self.log_file(),
                });
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The postmaster writes its state into the last line of its pid file.
    fn is_ready(&self) -> bool {
        std::fs::read_to_string(self.cluster().join("postmaster.pid"))
            .is_ok_and(|text| text.lines().nth(7).is_some_and(|state| state.trim() == "ready"))
    }

    /// Makes the cluster when there is none; a half-made one from an interrupted start is thrown away.
    pub fn initialise(&self) -> Result<(), EmbeddedError> {
        let cluster = self.cluster();
        if cluster.join("PG_VERSION").exists() {
            return Ok(());
        }
        let binaries = self.binaries()?;
        let fresh = self.path.join("postgres.new");
        let _ = std::fs::remove_dir_all(&fresh);
        DirBuilder::new().mode(0o700).create(&fresh).map_err(io_error("make the folder", &fresh))?;
        let password_file = fresh.with_extension("password");
        let password = self.password();
        write_private(&password_file, &password)?;
        if let Some(user) = &self.user {
            for path in [&fresh, &password_file] {
                chown(path, Some(user.uid), Some(user.gid)).map_err(io_error("give away", path))?;
            }
        }
        let mut command = self.as_server_user(&binaries.program("initdb"));
        command
            .args(["--username=cordwood", "--encoding=UTF8", "--locale=C", "--auth=scram-sha-256"])
            .arg(format!("--pgdata={}", fresh.display()))
            .arg(format!("--pwfile={}", password_file.display()));
        let output = command.output();
        let _ = std::fs::remove_file(&password_file);
        let output = output.map_err(io_error("run", &binaries.program("initdb")))?;
        if !output.status.success() {
            let _ = std::fs::remove_dir_all(&fresh);
            let complaint = String::from_utf8_lossy(&output.stderr).trim().replace('\n', "; ");
            return Err(EmbeddedError::Program { program: "initdb", message: complaint });
        }
        std::fs::rename(&fresh, &cluster).map_err(io_error("rename into place", &fresh))
    }

    /// A command that runs as the server's user, away from this process's folder and environment.
    pub fn as_server_user(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.current_dir("/").env_clear().stdin(Stdio::null());
        command.env("PATH", std::env::var_os("PATH").unwrap_or_else(|| "/usr/bin:/bin".into()));
        command.env("LC_ALL", "C").env("TZ", "UTC");
        if let Some(user) = &self.user {
            // The standard library also clears the supplementary groups when root changes its user.
            command.gid(user.gid).uid(user.uid);
        }
        command
    }

    /// Everyone who needs the server holds this one.
    pub fn lock_shared(&self) -> Result<File, EmbeddedError> {
        self.lock("users.lock", FlockOperation::LockShared)
    }

    pub fn lock_start(&self) -> Result<File, EmbeddedError> {
        self.lock("start.lock", FlockOperation::LockExclusive)
    }

    /// Only when nobody uses the server; blocks new users until it is dropped.
    pub fn try_lock_unused(&self) -> Option<File> {
        self.lock("users.lock", FlockOperation::NonBlockingLockExclusive).ok()
    }

    pub fn try_lock_keeper(&self) -> Option<File> {
        self.lock("keeper.lock", FlockOperation::NonBlockingLockExclusive).ok()
    }

    pub fn has_keeper(&self) -> bool {
        self.lock("keeper.lock", FlockOperation::NonBlockingLockShared).is_err()
    }

    pub fn is_used_by_others(&self) -> bool {
        // Exclusively held counts as unused: that is the keeper on its way out.
        let Ok(file) = self.open_lock("users.lock") else { return false };
        flock(&file, FlockOperation::NonBlockingLockShared).is_ok()
            && flock(&file, FlockOperation::NonBlockingLockExclusive).is_err()
    }

    pub fn keeper_pid(&self) -> Option<i32> {
        std::fs::read_to_string(self.path.join("keeper.lock")).ok()?.trim().parse().ok()
    }

    fn lock(&self, name: &'static str, operation: FlockOperation) -> Result<File, EmbeddedError> {
        let file = self.open_lock(name)?;
        flock(&file, operation).map_err(|errno| EmbeddedError::Io {
            operation: "lock",
            path: self.path.join(name),
            source: errno.into(),
        })?;
        Ok(file)
    }

    fn open_lock(&self, name: &'static str) -> Result<File, EmbeddedError> {
        let path = self.path.join(name);
        OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .mode(0o600)
            .open(&path)
            .map_err(io_error("open", &path))
    }

    fn password(&self) -> String {
        let rest = self.url.trim_start_matches("postgresql://cordwood:");
        rest.split('@').next().unwrap_or_default().to_owned()
    }

    fn make_socket_dir(&self) -> Result<(), EmbeddedError> {
        let dir = &self.socket_dir;
        make_dir(dir, 0o700)?;
        let metadata = std::fs::symlink_metadata(dir).map_err(io_error("look at", dir))?;
        let me = rustix::process::geteuid().as_raw();
        let server = self.user.as_ref().map_or(me, |user| user.uid);
        if !metadata.is_dir() || (metadata.uid() != me && metadata.uid() != server) {
            return Err(EmbeddedError::Io {
                operation: "use for the socket",
                path: dir.clone(),
                source: std::io::Error::new(ErrorKind::PermissionDenied, "it belongs to somebody else"),
            });
        }
        if let Some(user) = &self.user {
            chown(dir, Some(user.uid), Some(user.gid)).map_err(io_error("give away", dir))?;
        }
        Ok(())
    }
}

fn make_dir(path: &Path, mode: u32) -> Result<(), EmbeddedError> {
    DirBuilder::new().recursive(true).mode(mode).create(path).map_err(io_error("make the folder", path))
}

fn write_private(path: &Path, text: &str) -> Result<(), EmbeddedError> {
    let _ = std::fs::remove_file(path);
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(io_error("create", path))?;
    file.write_all(text.as_bytes()).map_err(io_error("write", path))
}

/// `run/` in the folder; where that is too long for a socket, a folder under /tmp named by a hash of the path.
fn socket_dir(folder: &Path) -> PathBuf {
    let inside = folder.join("run");
    if inside.join(SOCKET_NAME).as_os_str().len() <= SOCKET_PATH_BYTES_MAX {
        return inside;
    }
    let uid = rustix::process::geteuid().as_raw();
    let hash =
        cordwood_core::identity::FileId::of_head(&[folder.as_os_str().as_encoded_bytes(), b"\n"].concat());
    PathBuf::from(format!("/tmp/cordwood-{uid}-{}", hash.map_or_else(String::new, |hash| hash.to_string())))
}

/// The URL with its random password, made once per folder.
fn url(folder: &Path, socket_dir: &Path) -> Result<String, EmbeddedError> {
    let file = folder.join("database-url");
    let host = percent_encode(socket_dir);
    match std::fs::read_to_string(&file) {
        Ok(text) => {
            // The folder may have been moved since: the password stays, the socket's place is computed again.
            let password = text.trim().trim_start_matches("postgresql://cordwood:");
            let password = password.split('@').next().unwrap_or_default();
            let url = format!("postgresql://cordwood:{password}@{host}/postgres?sslmode=disable");
            if url != text.trim() {
                write_private(&file, &url)?;
            }
            Ok(url)
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let mut random = [0u8; 18];
            File::open("/dev/urandom")
                .and_then(|mut source| source.read_exact(&mut random))
                .map_err(io_error("read", Path::new("/dev/urandom")))?;
            let password: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
            let url = format!("postgresql://cordwood:{password}@{host}/postgres?sslmode=disable");
            write_private(&file, &url)?;
            Ok(url)
        }
        Err(source) => Err(EmbeddedError::Io { operation: "read", path: file, source }),
    }
}

fn percent_encode(path: &Path) -> String {
    let mut out = String::new();
    for &byte in path.as_os_str().as_encoded_bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// Root's server user: the user that owns the cluster already, else `postgres`, else `nobody`; and that it can get there.
fn server_user(folder: &Path) -> Result<ServerUser, EmbeddedError> {
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let owner = std::fs::metadata(folder.join("postgres"))
        .ok()
        .map(|metadata| metadata.uid())
        .filter(|uid| *uid != 0);
    let user = parse_users(&users)
        .find(|user| owner == Some(user.uid))
        .or_else(|| {
            ["postgres", "nobody"].iter().find_map(|name| parse_users(&users).find(|user| user.name == *name))
        })
        .ok_or(EmbeddedError::NoUser)?;
    for ancestor in folder.ancestors() {
        let Ok(metadata) = std::fs::metadata(ancestor) else { continue };
        let shift = if metadata.uid() == user.uid {
            6
        } else if metadata.gid() == user.gid {
            3
        } else {
            0
        };
        if metadata.permissions().mode() >> shift & 1 == 0 {
            return Err(EmbeddedError::Unreachable { user: user.name, path: ancestor.to_owned() });
        }
    }
    Ok(user)
}

fn parse_users(passwd: &str) -> impl Iterator<Item = ServerUser> {
    passwd.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?.to_owned();
        let uid = fields.nth(1)?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        Some(ServerUser { name, uid, gid })
    })
}

/// The last FATAL or PANIC in the server's log.
fn last_complaint(log: &Path, from: u64) -> Option<String> {
    let text = std::fs::read(log).ok()?;
    let text = text.get(usize::try_from(from).ok()?..).unwrap_or(&text);
    let text = String::from_utf8_lossy(&text[text.len().saturating_sub(64 << 10)..]).into_owned();
    text.lines().rev().find_map(|line| {
        let complaint =
            ["FATAL:", "PANIC:", "cordwood:"].iter().find_map(|mark| Some(line.split_once(mark)?.1));
        complaint.map(|complaint| complaint.trim().to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_folder_name_moves_the_socket() {
        assert_eq!(socket_dir(Path::new("/data/cw")), Path::new("/data/cw/run"));
        let long = PathBuf::from(format!("/{}", "x".repeat(120)));
        let moved = socket_dir(&long);
        assert!(moved.starts_with("/tmp"), "{}", moved.display());
        assert!(moved.join(SOCKET_NAME).as_os_str().len() <= SOCKET_PATH_BYTES_MAX);
        assert_ne!(moved, socket_dir(&long.join("y")));
    }

    #[test]
    fn the_url_is_made_once_and_follows_the_folder() {
        let dir = tempfile::tempdir().unwrap();
        let first = url(dir.path(), Path::new("/a b/run")).unwrap();
        assert!(first.ends_with("@%2Fa%20b%2Frun/postgres?sslmode=disable"), "{first}");
        assert_eq!(url(dir.path(), Path::new("/a b/run")).unwrap(), first);
        let moved = url(dir.path(), Path::new("/c/run")).unwrap();
        assert_eq!(moved, first.replace("%2Fa%20b%2Frun", "%2Fc%2Frun"));
        let mode = std::fs::metadata(dir.path().join("database-url")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn users_come_from_passwd() {
        let users: Vec<ServerUser> =
            parse_users("root:x:0:0::/root:/bin/sh\nbroken\npostgres:x:101:104::/:/bin/sh\n").collect();
        assert_eq!(users.len(), 2);
        assert_eq!(users[1], ServerUser { name: "postgres".into(), uid: 101, gid: 104 });
    }

    #[test]
    fn the_last_complaint_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        std::fs::write(&log, "2026 LOG: x\n2026 FATAL:  could not create lock file\n2026 LOG: shut down\n")
            .unwrap();
        assert_eq!(last_complaint(&log, 0).as_deref(), Some("could not create lock file"));
        assert_eq!(last_complaint(&log, 50), None);
    }
}
