//! A folder for one test, and `cordwood` run in it. The keeper of its PostgreSQL ends by itself when nobody uses it.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use cordwood_tests::env::home::Home;

pub struct Folder {
    root: Home,
}

/// What a run of `cordwood` came to.
pub struct Ran {
    pub code: i32,
    pub stdout: Vec<u8>,
    pub stderr: String,
}

impl Folder {
    pub fn new() -> Result<Folder> {
        Ok(Folder { root: Home::new("standalone")? })
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    pub fn data_dir(&self) -> PathBuf {
        self.path("data")
    }

    pub fn write(&self, name: &str, text: impl AsRef<[u8]>) -> Result<PathBuf> {
        let path = self.path(name);
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        std::fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
        Ok(path)
    }

    pub fn append(&self, name: &str, text: impl AsRef<[u8]>) -> Result<()> {
        let mut file = std::fs::OpenOptions::new().append(true).create(true).open(self.path(name))?;
        file.write_all(text.as_ref()).with_context(|| format!("append to {name}"))
    }

    pub fn command(&self, arguments: &[&str]) -> Result<Command> {
        let mut command = Command::new(cordwood_tests::bin("cordwood")?);
        command
            .args(arguments)
            .current_dir(self.root.path())
            .env("CORDWOOD_DATA_DIR", self.data_dir())
            .env_remove("CORDWOOD_DATABASE_URL")
            .env_remove("RUST_LOG")
            .stdin(Stdio::null());
        Ok(command)
    }

    /// Runs to the end.
    pub fn run(&self, arguments: &[&str]) -> Result<Ran> {
        let output =
            self.command(arguments)?.output().with_context(|| format!("run cordwood {arguments:?}"))?;
        Ok(ran(output))
    }

    /// Runs to the end, which must be a good one.
    pub fn ok(&self, arguments: &[&str]) -> Result<Ran> {
        let ran = self.run(arguments)?;
        if ran.code != 0 {
            bail!("cordwood {arguments:?} ended with {}: {}", ran.code, ran.stderr);
        }
        Ok(ran)
    }

    /// With this on its stdin.
    pub fn piped(&self, arguments: &[&str], input: &[u8]) -> Result<Ran> {
        let mut child = self
            .command(arguments)?
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("start cordwood")?;
        child.stdin.take().context("its stdin")?.write_all(input)?;
        Ok(ran(child.wait_with_output()?))
    }

    /// Runs beside the test until it is stopped or dropped.
    pub fn start(&self, arguments: &[&str]) -> Result<Running> {
        self.start_command(self.command(arguments)?)
    }

    /// The same with a command of one's own.
    pub fn start_command(&self, mut command: Command) -> Result<Running> {
        let log = std::fs::File::create(self.path("standalone.log"))?;
        let child = command.stdout(Stdio::null()).stderr(log).spawn().context("start cordwood")?;
        Ok(Running { child, log: self.path("standalone.log") })
    }

    /// All bodies, in the order in which they were written.
    pub fn raw(&self, filter: &[&str]) -> Result<Vec<Vec<u8>>> {
        let mut arguments = vec!["query", "--all", "--reverse", "-o", "raw"];
        arguments.extend(filter);
        let out = self.ok(&arguments)?.stdout;
        let mut lines: Vec<Vec<u8>> = out.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
        // What follows the last line's end.
        lines.pop();
        Ok(lines)
    }

    pub fn json(&self, arguments: &[&str]) -> Result<Vec<serde_json::Value>> {
        let out = self.ok(arguments)?.stdout;
        let text = String::from_utf8(out).context("JSON is UTF-8")?;
        text.lines().map(|line| serde_json::from_str(line).with_context(|| line.to_owned())).collect()
    }

    /// The audit's last line: totals of all streams.
    pub fn totals(&self) -> Result<serde_json::Value> {
        let ran = self.run(&["audit", "-o", "json"])?;
        let text = String::from_utf8(ran.stdout)?;
        let last = text.lines().last().with_context(|| format!("no output of audit: {}", ran.stderr))?;
        serde_json::from_str(last).context("audit's totals")
    }

    /// As [`Folder::totals`], while the store may still be made: null until it is.
    pub fn totals_if_any(&self) -> Result<serde_json::Value> {
        Ok(self.totals().unwrap_or(serde_json::Value::Null))
    }

    /// Asks again until `is` holds of the answer; says what it last was otherwise.
    pub fn until<T: std::fmt::Debug>(
        &self,
        what: &str,
        mut ask: impl FnMut() -> Result<T>,
        is: impl Fn(&T) -> bool,
    ) -> Result<T> {
        let deadline = Instant::now() + Duration::from_secs(180);
        loop {
            // A failure is an answer too, as long as another follows: the store may still be made.
            let answer = match ask() {
                Ok(answer) if is(&answer) => return Ok(answer),
                answer => answer.map_err(|error| format!("{error:#}")),
            };
            if Instant::now() > deadline {
                let log = std::fs::read_to_string(self.path("standalone.log")).unwrap_or_default();
                bail!("{what}: not within 180 s; last: {answer:?}\n{log}");
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    }
}

fn ran(output: Output) -> Ran {
    Ran {
        code: output.status.code().unwrap_or(-1),
        stdout: output.stdout,
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

pub struct Running {
    child: Child,
    log: PathBuf,
}

impl Running {
    fn signal(&self, signal: rustix::process::Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(rustix::process::Pid::from_raw);
        if let Some(pid) = pid {
            let _ = rustix::process::kill_process(pid, signal);
        }
    }

    /// As Ctrl-C does; waits for its end.
    pub fn interrupt(mut self) -> Result<i32> {
        self.signal(rustix::process::Signal::INT);
        Ok(self.child.wait()?.code().unwrap_or(-1))
    }

    /// `kill -9`.
    pub fn kill(mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Where its gateway answers; empty until it does.
    pub fn address(&self) -> String {
        let log = self.log();
        let address =
            log.lines().find_map(|line| line.strip_prefix("answering on http://")?.split('/').next());
        address.unwrap_or_default().to_owned()
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A container's log file below `pods/`, as the kubelet lays it out.
pub fn pod_file(root: &str, namespace: &str, pod: &str, container: &str) -> String {
    let uid = format!("{:08x}-0000-4000-8000-000000000000", crc32fast::hash(pod.as_bytes()));
    format!("{root}/{namespace}_{pod}_{uid}/{container}/0.log")
}

/// One CRI line.
pub fn cri(time_us: i64, io: &str, tag: &str, content: &[u8]) -> Vec<u8> {
    let time = jiff::Timestamp::from_microsecond(time_us).unwrap_or_default();
    let mut line = format!("{time:.9} {io} {tag} ").into_bytes();
    line.extend_from_slice(content);
    line.push(b'\n');
    line
}

pub fn now_us() -> i64 {
    jiff::Timestamp::now().as_microsecond()
}

pub fn text(path: &Path) -> &str {
    path.to_str().unwrap_or_default()
}
