//! The keeper: a small process that starts the folder's PostgreSQL, and stops it some seconds after its last user is gone.
//!
//! Users of the server hold a shared lock that the kernel releases however they end; the keeper waits to get it exclusively.
//! So a `kill -9` of `cordwood standalone` leaves no server behind, and two users never stop it under each other.

use std::fs::{File, OpenOptions};
use std::io::{Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};

use super::{EmbeddedError, Folder, KEEPER_COMMAND, io_error};

const POLL: Duration = Duration::from_millis(100);
/// A series of short commands shares one server.
const LINGER: Duration = Duration::from_secs(3);
/// A fast shutdown writes a checkpoint; after this the server is told to stop without one (it recovers at the next start).
const SHUTDOWN_PATIENCE: Duration = Duration::from_secs(60);
const LOG_BYTES_MAX: u64 = 4 << 20;

/// Starts a keeper that outlives this process and does not hear its terminal's Ctrl-C.
/// The flag is set when it has ended.
pub fn spawn(folder: &Folder) -> Result<Arc<AtomicBool>, EmbeddedError> {
    let program = std::env::current_exe().map_err(io_error("find", Path::new("the running program")))?;
    let log = open_log(folder)?;
    let mut child = Command::new(&program)
        .arg(KEEPER_COMMAND)
        .arg(&folder.path)
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .process_group(0)
        .spawn()
        .map_err(io_error("run", &program))?;
    let ended = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&ended);
    // Reaped here if it ends before us; otherwise by init.
    std::thread::spawn(move || {
        let _ = child.wait();
        flag.store(true, Ordering::Relaxed);
    });
    Ok(ended)
}

/// Tells the folder's keeper that its last user waits for it: no lingering.
pub fn hurry(folder: &Folder) {
    if let Some(pid) = folder.keeper_pid().and_then(Pid::from_raw)
        && folder.has_keeper()
    {
        let _ = kill_process(pid, Signal::TERM);
    }
}

/// The keeper's life. Returns when the server is stopped, or at once when there is a keeper already.
///
/// # Errors
/// When the server cannot be started, or stops by itself.
pub fn run(data_dir: &Path) -> Result<(), EmbeddedError> {
    let folder = Folder::open(data_dir, false)?;
    let Some(mut lock) = become_keeper(&folder) else { return Ok(()) };
    let hurry = Arc::new(AtomicBool::new(false));
    install_hurry(&hurry)?;
    write_pid(&mut lock).map_err(io_error("write", &folder.path.join("keeper.lock")))?;
    let mut server = if folder.answers() { Server::Adopted } else { Server::Child(start(&folder)?) };
    let mut unused_since: Option<Instant> = None;
    loop {
        std::thread::sleep(POLL);
        if server.has_ended(&folder) {
            return Err(EmbeddedError::Program {
                program: "postgres",
                message: format!("it ended by itself; see {}", folder.log_file().display()),
            });
        }
        if !folder.cluster().is_dir() {
            // Somebody removed the folder under it: nothing is left to keep.
            server.signal(&folder, Signal::QUIT);
            return Ok(());
        }
        let Some(unused) = folder.try_lock_unused() else {
            unused_since = None;
            hurry.store(false, Ordering::Relaxed);
            continue;
        };
        let since = *unused_since.get_or_insert_with(Instant::now);
        if hurry.load(Ordering::Relaxed) || since.elapsed() > LINGER {
            // New users wait on the lock that `unused` is until the server is down and this process is gone.
            server.stop(&folder);
            drop(lock);
            drop(unused);
            return Ok(());
        }
    }
}

/// Somebody who looks whether there is a keeper holds the lock for an instant: one failed attempt proves nothing.
fn become_keeper(folder: &Folder) -> Option<File> {
    (0..50).find_map(|attempt| {
        if attempt > 0 {
            std::thread::sleep(Duration::from_millis(10));
        }
        folder.try_lock_keeper()
    })
}

/// SIGTERM and SIGINT mean "do not linger"; they never stop a server that is in use.
fn install_hurry(hurry: &Arc<AtomicBool>) -> Result<(), EmbeddedError> {
    use tokio::signal::unix::{SignalKind, signal};
    let flag = Arc::clone(hurry);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(io_error("start", Path::new("the keeper's runtime")))?;
    let (mut terminate, mut interrupt, mut hangup) = {
        let _inside = runtime.enter();
        let install = |kind| signal(kind).map_err(io_error("handle", Path::new("signals")));
        (install(SignalKind::terminate())?, install(SignalKind::interrupt())?, install(SignalKind::hangup())?)
    };
    std::thread::spawn(move || {
        runtime.block_on(async move {
            loop {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                    _ = hangup.recv() => continue,
                }
                flag.store(true, Ordering::Relaxed);
            }
        });
    });
    Ok(())
}

fn write_pid(lock: &mut File) -> std::io::Result<()> {
    lock.set_len(0)?;
    lock.rewind()?;
    writeln!(lock, "{}", std::process::id())
}

fn start(folder: &Folder) -> Result<Child, EmbeddedError> {
    let binaries = folder.binaries()?;
    let log = open_log(folder)?;
    let program = binaries.program("postgres");
    let mut command = folder.as_server_user(&program);
    command.arg("-D").arg(folder.cluster());
    for setting in [
        "listen_addresses=".to_owned(),
        format!("unix_socket_directories={}", folder.socket_dir().display()),
        "port=5432".to_owned(),
        // Only this user (and root) comes near the socket; the password is asked for all the same.
        "unix_socket_permissions=0700".to_owned(),
        "max_connections=40".to_owned(),
        "shared_buffers=128MB".to_owned(),
        "max_wal_size=2GB".to_owned(),
        "checkpoint_timeout=15min".to_owned(),
        // One server, no standby.
        "wal_level=minimal".to_owned(),
        "max_wal_senders=0".to_owned(),
        "jit=off".to_owned(),
        "timezone=UTC".to_owned(),
        "log_timezone=UTC".to_owned(),
        "logging_collector=off".to_owned(),
        "log_checkpoints=off".to_owned(),
        "cluster_name=cordwood".to_owned(),
    ] {
        command.arg("-c").arg(setting);
    }
    command.stdout(Stdio::null()).stderr(log).process_group(0);
    command.spawn().map_err(io_error("run", &program))
}

fn open_log(folder: &Folder) -> Result<File, EmbeddedError> {
    let path = folder.log_file();
    if std::fs::metadata(&path).is_ok_and(|metadata| metadata.len() > LOG_BYTES_MAX) {
        let _ = std::fs::rename(&path, path.with_extension("log.old"));
    }
    OpenOptions::new().create(true).append(true).mode(0o600).open(&path).map_err(io_error("open", &path))
}

enum Server {
    Child(Child),
    /// Somebody killed the keeper that had started it.
    Adopted,
}

impl Server {
    fn has_ended(&mut self, folder: &Folder) -> bool {
        match self {
            Server::Child(child) => !matches!(child.try_wait(), Ok(None)),
            Server::Adopted => postmaster(folder).is_none(),
        }
    }

    fn signal(&self, folder: &Folder, signal: Signal) {
        let pid = match self {
            Server::Child(child) => i32::try_from(child.id()).ok().and_then(Pid::from_raw),
            Server::Adopted => postmaster(folder),
        };
        if let Some(pid) = pid {
            let _ = kill_process(pid, signal);
        }
    }

    /// Fast shutdown (SIGINT), then immediate (SIGQUIT).
    fn stop(&mut self, folder: &Folder) {
        for signal in [Signal::INT, Signal::QUIT] {
            self.signal(folder, signal);
            let deadline = Instant::now() + SHUTDOWN_PATIENCE;
            while Instant::now() < deadline {
                if self.has_ended(folder) {
                    return;
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }
}

/// The running server's pid, from the pid file, if that process lives.
fn postmaster(folder: &Folder) -> Option<Pid> {
    let text = std::fs::read_to_string(folder.cluster().join("postmaster.pid")).ok()?;
    let pid = Pid::from_raw(text.lines().next()?.trim().parse().ok()?)?;
    test_kill_process(pid).is_ok().then_some(pid)
}
