//! Writes a line of a plugin's or the supervisor's file: `timestamp level message plugin error pid`, null where there is nothing.

use crate::fields::{Fields, Value, write_all};
use crate::json;
use crate::level::Level;
use crate::time;

/// What a line says. `more` stands behind the six fields that every line has.
#[derive(Clone, Debug)]
pub struct FileLine<'a> {
    pub level: Level,
    pub message: &'a str,
    pub plugin: Option<&'a str>,
    pub error: Option<&'a str>,
    pub pid: Option<u32>,
    pub more: Fields,
}

impl<'a> FileLine<'a> {
    pub fn new(level: Level, message: &'a str) -> FileLine<'a> {
        FileLine { level, message, plugin: None, error: None, pid: None, more: Fields::new() }
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut line = Vec::with_capacity(192 + self.message.len());
        line.extend_from_slice(b"{\"timestamp\":\"");
        time::write(&mut line, time::now(), time::Digits::Milli);
        line.extend_from_slice(b"\",\"level\":\"");
        line.extend_from_slice(self.level.as_word().as_bytes());
        line.extend_from_slice(b"\",\"message\":");
        json::text(&mut line, self.message);
        or_null(&mut line, "plugin", self.plugin);
        or_null(&mut line, "error", self.error);
        or_null(&mut line, "pid", self.pid);
        write_behind(&mut line, &self.more);
        line.extend_from_slice(b"}\n");
        line
    }
}

/// The further fields, without those that stand in the line already.
fn write_behind(line: &mut Vec<u8>, more: &Fields) {
    let taken = Fields::new().with("plugin", "").with("error", "").with("pid", 0);
    let (mut all, mut without) = (Vec::new(), Vec::new());
    write_all(&mut all, &[&taken, more]);
    write_all(&mut without, &[&taken]);
    line.extend_from_slice(&all[without.len()..]);
}

fn or_null(line: &mut Vec<u8>, name: &str, value: Option<impl Value>) {
    json::key(line, name);
    match value {
        Some(value) => value.write(line),
        None => line.extend_from_slice(b"null"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_to_the_letter() {
        let mut line = FileLine::new(Level::Info, "Plugin spawned: hello-plugin (PID: Some(12345))");
        line.plugin = Some("hello-plugin");
        let text = String::from_utf8(line.to_bytes()).expect("UTF-8");
        let (time, rest) = (&text[14..38], &text[38..]);
        assert!(text.starts_with("{\"timestamp\":\"2") && time.ends_with('Z'), "{text}");
        assert_eq!(
            rest,
            "\",\"level\":\"Info\",\"message\":\"Plugin spawned: hello-plugin (PID: Some(12345))\",\"plugin\":\"hello-plugin\",\"error\":null,\"pid\":null}\n"
        );
        line.pid = Some(7);
        line.error = Some("boom");
        line.more = Fields::new().with("pid", 8).with("requestId", "r");
        let text = String::from_utf8(line.to_bytes()).expect("UTF-8");
        assert!(text.ends_with("\"error\":\"boom\",\"pid\":7,\"requestId\":\"r\"}\n"), "{text}");
    }
}
