//! A process that cannot outlive its test: own process group, stopped when dropped, killed by the kernel when the test's
//! process dies, and every descendant carries a mark in its environment by which leftovers are found.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{OnceLock, mpsc};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use super::cache::say;

/// How long killed children may take to be gone.
const GONE_LIMIT: Duration = Duration::from_secs(30);
const MARK: &str = "CORDWOOD_TEST_PART";

/// Whom a program runs as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum User {
    /// The user who runs the tests.
    Same,
    /// `postgres` when the tests run as root (PostgreSQL refuses root); else the same user.
    Postgres,
}

impl User {
    /// The system user to change to, if any.
    pub fn name(self) -> Option<&'static str> {
        (self == User::Postgres && rustix::process::geteuid().is_root()).then_some("postgres")
    }
}

/// What to run.
#[derive(Clone, Debug)]
pub struct Program {
    name: String,
    path: PathBuf,
    arguments: Vec<OsString>,
    variables: Vec<(OsString, OsString)>,
    user: User,
    folder: PathBuf,
    log: PathBuf,
    stdout: Option<PathBuf>,
    stop_signal: Signal,
    stop_limit: Duration,
}

impl Program {
    /// Standard output and error go to `<folder>/<name>.log` (appended), and it runs in `folder`.
    pub fn new(name: &str, path: impl Into<PathBuf>, folder: &Path) -> Program {
        Program {
            name: name.to_owned(),
            path: path.into(),
            arguments: Vec::new(),
            variables: Vec::new(),
            user: User::Same,
            folder: folder.to_owned(),
            log: folder.join(format!("{name}.log")),
            stdout: None,
            stop_signal: Signal::TERM,
            stop_limit: Duration::from_secs(10),
        }
    }

    #[must_use]
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Program {
        self.arguments.push(argument.as_ref().to_owned());
        self
    }

    #[must_use]
    pub fn args<A: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = A>) -> Program {
        self.arguments.extend(arguments.into_iter().map(|argument| argument.as_ref().to_owned()));
        self
    }

    /// The same program, started by another one: its path and its arguments are the last ones of that.
    #[must_use]
    pub fn wrapped<A: AsRef<OsStr>>(
        mut self,
        path: impl Into<PathBuf>,
        arguments: impl IntoIterator<Item = A>,
    ) -> Program {
        let program = std::mem::replace(&mut self.path, path.into());
        let own = std::mem::take(&mut self.arguments);
        self = self.args(arguments).arg(program).args(own);
        self
    }

    #[must_use]
    pub fn env(mut self, key: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Program {
        self.variables.push((key.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    #[must_use]
    pub fn user(mut self, user: User) -> Program {
        self.user = user;
        self
    }

    /// Standard output goes to this file instead of the log.
    #[must_use]
    pub fn stdout(mut self, path: impl Into<PathBuf>) -> Program {
        self.stdout = Some(path.into());
        self
    }

    /// How it is asked to stop, and how long it may take before it is killed.
    #[must_use]
    pub fn stop_by(mut self, signal: Signal, limit: Duration) -> Program {
        self.stop_signal = signal;
        self.stop_limit = limit;
        self
    }

    pub fn start(&self) -> Result<Process> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let mark = format!("{}-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed), self.name);
        let log = File::options()
            .create(true)
            .append(true)
            .open(&self.log)
            .with_context(|| format!("open {}", self.log.display()))?;
        let stdout = match &self.stdout {
            Some(path) => File::options()
                .create(true)
                .append(true)
                .open(path)
                .with_context(|| format!("open {}", path.display()))?,
            None => log.try_clone().context("duplicate the log's descriptor")?,
        };
        // setpriv sets the parent-death signal after it changed the user (changing it clears the signal), then becomes the
        // program: same process id, and no `unsafe` between fork and exec here.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]);
        if let Some(user) = self.user.name() {
            command.args([format!("--reuid={user}"), format!("--regid={user}"), "--init-groups".to_owned()]);
        }
        command
            .arg("--")
            .arg(&self.path)
            .args(&self.arguments)
            .envs(self.variables.iter().map(|(key, value)| (key, value)))
            .env(MARK, &mark)
            .current_dir(&self.folder)
            .stdin(Stdio::null())
            .stdout(stdout)
            .stderr(log)
            .process_group(0);
        let child = spawn(command).with_context(|| format!("start {}", self.path.display()))?;
        Ok(Process { program: self.clone(), child, mark, ended: None })
    }
}

/// Starts a child from a thread that lives as long as this process: the parent-death signal is sent when the *thread* that
/// forked ends, and test threads and runtimes' threads end early.
fn spawn(command: Command) -> std::io::Result<Child> {
    type Request = (Command, mpsc::Sender<std::io::Result<Child>>);
    static SPAWNER: OnceLock<mpsc::Sender<Request>> = OnceLock::new();
    let spawner = SPAWNER.get_or_init(|| {
        let (sender, requests) = mpsc::channel::<Request>();
        std::thread::spawn(move || {
            for (mut command, answer) in requests {
                let _ = answer.send(command.spawn());
            }
        });
        sender
    });
    let (sender, answer) = mpsc::channel();
    let gone = || std::io::Error::other("the spawning thread is gone");
    spawner.send((command, sender)).map_err(|_| gone())?;
    answer.recv().map_err(|_| gone())?
}

/// A running program. Dropping it stops it and whatever it started.
pub struct Process {
    program: Program,
    child: Child,
    mark: String,
    ended: Option<ExitStatus>,
}

impl Process {
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What its descendants carry in their environment; see [`running`].
    pub fn mark(&self) -> &str {
        &self.mark
    }

    pub fn name(&self) -> &str {
        &self.program.name
    }

    /// `None` while it runs.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().ok().flatten();
        }
        self.ended
    }

    /// An error that shows the end of its log, if it does not run any more.
    pub fn check(&mut self) -> Result<()> {
        match self.ended() {
            None => Ok(()),
            Some(status) => {
                Err(anyhow!("{} ended: {}\n{}", self.program.name, describe(status), self.log_tail(30)))
            }
        }
    }

    /// Waits until it ends by itself.
    pub async fn wait(&mut self, limit: Duration) -> Result<ExitStatus> {
        let began = Instant::now();
        loop {
            if let Some(status) = self.ended() {
                return Ok(status);
            }
            if began.elapsed() > limit {
                return Err(anyhow!(
                    "{} still runs after {limit:?}\n{}",
                    self.program.name,
                    self.log_tail(30)
                ));
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Sends a signal to the program alone, not to its group.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        kill_process(self.pid()?, signal).with_context(|| format!("send {signal:?} to {}", self.program.name))
    }

    /// Process ids of its children, their children, and so on.
    pub fn descendants(&self) -> Vec<i32> {
        let Ok(pid) = self.pid() else { return Vec::new() };
        descendants(pid).into_iter().map(|(pid, _)| pid.as_raw_nonzero().get()).collect()
    }

    /// SIGKILL to it, then to everything it started, and waits for its end.
    pub fn kill(&mut self) {
        self.finish(Signal::KILL, Duration::from_secs(10));
    }

    /// Asks it to stop in its own way and waits; kills it after its limit. The exit status tells which.
    pub fn stop(&mut self) -> Option<ExitStatus> {
        let (signal, limit) = (self.program.stop_signal, self.program.stop_limit);
        self.finish(signal, limit);
        self.ended
    }

    /// Stops it, if it still runs, and starts it again with the same arguments.
    pub fn restart(&mut self) -> Result<()> {
        self.stop();
        *self = self.program.start()?;
        Ok(())
    }

    /// The last lines of its log.
    pub fn log_tail(&self, lines: usize) -> String {
        let text = fs::read(&self.program.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let all: Vec<&str> = text.lines().collect();
        format!(
            "--- {} (last lines)\n{}",
            self.program.log.display(),
            all[all.len().saturating_sub(lines)..].join("\n")
        )
    }

    pub fn log_path(&self) -> &Path {
        &self.program.log
    }

    fn pid(&self) -> Result<Pid> {
        Pid::from_raw(self.child.id().cast_signed()).context("process id 0")
    }

    fn finish(&mut self, signal: Signal, limit: Duration) {
        if self.ended().is_none() {
            let Ok(pid) = self.pid() else { return };
            // Children may have groups and sessions of their own (PostgreSQL's backends do).
            let children = descendants(pid);
            // The program gets its own signal; its children only the last one, so that it can stop them in order.
            let _ = kill_process(pid, signal);
            let began = Instant::now();
            while self.ended().is_none() {
                if began.elapsed() > limit {
                    let _ = kill_process_group(pid, Signal::KILL);
                    self.ended = self.child.wait().ok();
                    break;
                }
                std::thread::sleep(Duration::from_millis(5));
            }
            let _ = kill_process_group(pid, Signal::KILL);
            for (child, started) in &children {
                if started.is_some() && started_at(*child) == *started {
                    let _ = kill_process(*child, Signal::KILL);
                }
            }
            // Killed is not gone: a backend that dies slowly still holds PostgreSQL's shared memory.
            let began = Instant::now();
            while children.iter().any(|(child, started)| runs(*child, *started))
                && began.elapsed() < GONE_LIMIT
            {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        for pid in marked(&self.mark) {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if std::thread::panicking() {
            say(&self.log_tail(15));
        }
        self.stop();
    }
}

fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "unknown".to_owned(),
    }
}

/// Processes that carry this mark: what a part started and left behind.
fn marked(mark: &str) -> Vec<Pid> {
    let wanted = format!("{MARK}={mark}\0");
    with_environment(|environment| contains(environment, wanted.as_bytes()))
}

/// Every process that carries this mark and still runs, as `pid command`; an empty mark means every part of this test
/// process.
pub fn running(mark: &str) -> Vec<String> {
    let wanted =
        if mark.is_empty() { format!("{MARK}={}-", std::process::id()) } else { format!("{MARK}={mark}\0") };
    with_environment(|environment| contains(environment, wanted.as_bytes()))
        .into_iter()
        .map(|pid| {
            let raw = pid.as_raw_nonzero();
            let command = fs::read(format!("/proc/{raw}/cmdline")).unwrap_or_default();
            format!("{raw} {}", String::from_utf8_lossy(&command).replace('\0', " "))
        })
        .collect()
}

/// The processes below `root`, each with the moment it started, which tells it from a later one with the same id.
fn descendants(root: Pid) -> Vec<(Pid, Option<u64>)> {
    let mut parents = Vec::new();
    for pid in process_ids() {
        if let Some(parent) = stat_field(pid, 4) {
            parents.push((pid, parent));
        }
    }
    let mut found = vec![root];
    let mut next = 0;
    while let Some(parent) = found.get(next).copied() {
        let parent = u64::from(parent.as_raw_nonzero().get().cast_unsigned());
        found.extend(parents.iter().filter(|(_, of)| *of == parent).map(|(pid, _)| *pid));
        next += 1;
    }
    found.into_iter().skip(1).map(|pid| (pid, started_at(pid))).collect()
}

/// Whether this very process is there and is more than an entry that nobody has asked for its exit code.
fn runs(pid: Pid, started: Option<u64>) -> bool {
    let Ok(text) = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())) else { return false };
    let dead = text.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with('Z'));
    !dead && started.is_some() && started_at(pid) == started
}

fn started_at(pid: Pid) -> Option<u64> {
    stat_field(pid, 22)
}

/// A numeric field of `/proc/<pid>/stat`, numbered from 1 as proc(5) does; from 4 on.
fn stat_field(pid: Pid, number: usize) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
    let (_, rest) = text.rsplit_once(')')?;
    rest.split_whitespace().nth(number - 3)?.parse().ok()
}

fn process_ids() -> Vec<Pid> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries.flatten().filter_map(|entry| Pid::from_raw(entry.file_name().to_str()?.parse().ok()?)).collect()
}

fn contains(environment: &[u8], wanted: &[u8]) -> bool {
    environment.windows(wanted.len()).any(|window| window == wanted)
}

fn with_environment(matches: impl Fn(&[u8]) -> bool) -> Vec<Pid> {
    process_ids()
        .into_iter()
        .filter(|pid| {
            fs::read(format!("/proc/{}/environ", pid.as_raw_nonzero()))
                .is_ok_and(|environment| matches(&environment))
        })
        .collect()
}
