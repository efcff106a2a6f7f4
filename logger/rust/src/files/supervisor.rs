//! Writes the supervisor's events to `<folder>/plugin-supervisor.log`. Each event is a record of its plugin with an `action`.

use std::io;
use std::path::Path;
use std::time::Duration;

use super::line::FileLine;
use super::rotating::{FILE_BYTES_MAX, Rotating};
use crate::fields::{Fields, Value};
use crate::level::Level;

/// Writes what happens to plugins.
#[derive(Debug)]
pub struct Supervisor {
    file: Rotating,
}

impl Supervisor {
    /// # Errors
    /// When the file cannot be opened, or another process writes it.
    pub fn open(folder: impl AsRef<Path>) -> io::Result<Supervisor> {
        Ok(Supervisor { file: Rotating::open(folder.as_ref(), "plugin-supervisor", FILE_BYTES_MAX)? })
    }

    pub fn path(&self) -> &Path {
        self.file.path()
    }

    /// A plugin was started; the pid is `None` where nobody knows it.
    ///
    /// # Errors
    /// Here and below: when the line cannot be written.
    pub fn spawned(&self, plugin: &str, pid: Option<u32>) -> io::Result<()> {
        let message = format!("Plugin spawned: {plugin} (PID: {pid:?})");
        // (The line of a spawn has no `pid`: who reads these files knows it so.)
        let more = field("childPid", pid);
        self.write(plugin, "spawn", FileLine { more, ..FileLine::new(Level::Info, &message) })
    }

    /// # Errors
    pub fn killed(&self, plugin: &str, pid: Option<u32>) -> io::Result<()> {
        let message = format!("Plugin killed: {plugin} (PID: {pid:?})");
        self.write(plugin, "kill", FileLine { pid, ..FileLine::new(Level::Info, &message) })
    }

    /// # Errors
    pub fn enabled(&self, plugin: &str) -> io::Result<()> {
        self.write(plugin, "enable", FileLine::new(Level::Info, &format!("Plugin enabled: {plugin}")))
    }

    /// # Errors
    pub fn disabled(&self, plugin: &str, reason: &str) -> io::Result<()> {
        let message = format!("Plugin disabled: {plugin} ({reason})");
        let more = field("reason", reason);
        self.write(plugin, "disable", FileLine { more, ..FileLine::new(Level::Warn, &message) })
    }

    /// # Errors
    pub fn crashed(&self, plugin: &str, pid: Option<u32>, error: &str) -> io::Result<()> {
        let message = format!("Plugin crashed: {plugin} (PID: {pid:?})");
        let error = Some(error);
        self.write(plugin, "crash", FileLine { error, pid, ..FileLine::new(Level::Error, &message) })
    }

    /// A plugin is started again, after a delay.
    ///
    /// # Errors
    pub fn restarted(&self, plugin: &str, attempt: u32, delay: Duration) -> io::Result<()> {
        let delay_ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
        let message = format!("Plugin restart: {plugin} (attempt {attempt}, delay {delay_ms} ms)");
        let more = field("attempt", attempt).with("delayMs", delay_ms);
        self.write(plugin, "restart", FileLine { more, ..FileLine::new(Level::Warn, &message) })
    }

    /// A plugin has crashed too often: it is disabled.
    ///
    /// # Errors
    pub fn max_restarts_reached(&self, plugin: &str, attempts: u32) -> io::Result<()> {
        let reason = format!("max restarts reached ({attempts})");
        let message = format!("Plugin disabled: {plugin} ({reason})");
        let more = field("reason", &reason).with("attempts", attempts);
        let error = Some(reason.as_str());
        self.write(plugin, "disable", FileLine { error, more, ..FileLine::new(Level::Error, &message) })
    }

    /// All events go through here.
    fn write(&self, plugin: &str, action: &str, line: FileLine<'_>) -> io::Result<()> {
        let more = Fields::new().with("action", action).over(&line.more);
        self.file.write(&FileLine { plugin: Some(plugin), more, ..line }.to_bytes())
    }
}

fn field(name: &str, value: impl Value) -> Fields {
    Fields::new().with(name, value)
}
