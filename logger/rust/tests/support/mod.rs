//! A program under test: this very test binary, run again with a part to play.

use std::process::{Child, Command, Stdio};

use serde_json::Value;

/// Names the part to play.
pub const PART: &str = "CORDWOOD_LOGGER_TEST_PART";

/// The part that this process plays; `None` in the test itself.
pub fn part() -> Option<String> {
    std::env::var(PART).ok()
}

/// This binary as a program that plays `part` in the test function `program`.
pub fn program(part: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("this binary"));
    command.args(["program", "--exact", "--nocapture", "--test-threads=1"]);
    command.env(PART, part).env_remove("RUST_BACKTRACE").env_remove("NO_COLOR");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// The JSON lines of an output; what the test harness prints besides is left out.
pub fn json_lines(output: &[u8]) -> Vec<Value> {
    let text = String::from_utf8(output.to_vec()).expect("UTF-8");
    let lines = text.lines().filter_map(|line| line.find('{').map(|at| &line[at..]));
    lines.map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

/// A child that does not outlive its test.
pub struct Reaped(pub Child);

impl Drop for Reaped {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
