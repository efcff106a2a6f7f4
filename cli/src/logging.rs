//! Prints the parts' own log lines on stderr: warnings and errors unless RUST_LOG says otherwise, above the status line if one is shown.

use std::io::Write;
use std::sync::{Mutex, PoisonError};

/// What stands in the terminal's last line; cleared before anything else is written.
static LINE: Mutex<String> = Mutex::new(String::new());

/// Call once. `quiet`: errors only.
pub fn init(quiet: bool, is_coloured: bool) {
    let levels = if quiet { "error" } else { "warn" };
    cordwood_service::init_console_logging("cordwood", levels, is_coloured, AboveStatus);
}

/// Replaces the status line; an empty one takes it away.
pub fn set_status(text: &str) {
    let mut line = LINE.lock().unwrap_or_else(PoisonError::into_inner);
    let mut out = std::io::stderr().lock();
    let _ = write!(out, "\r\x1b[2K{text}");
    let _ = out.flush();
    text.clone_into(&mut line);
}

/// A line of our own above the status line.
pub fn say(text: &str) {
    let _ = writeln!(AboveStatus, "{text}");
}

struct AboveStatus;

impl Write for AboveStatus {
    fn write(&mut self, buffer: &[u8]) -> std::io::Result<usize> {
        let line = LINE.lock().unwrap_or_else(PoisonError::into_inner);
        let mut out = std::io::stderr().lock();
        if line.is_empty() {
            out.write_all(buffer)?;
        } else {
            out.write_all(b"\r\x1b[2K")?;
            out.write_all(buffer)?;
            // A log line comes in one write and ends in a line's end.
            if buffer.ends_with(b"\n") {
                out.write_all(line.as_bytes())?;
            }
            out.flush()?;
        }
        Ok(buffer.len())
    }

    fn write_fmt(&mut self, arguments: std::fmt::Arguments<'_>) -> std::io::Result<()> {
        self.write_all(arguments.to_string().as_bytes())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        std::io::stderr().flush()
    }
}
