//! Reads the settings from the environment: levels, format, buffer, and the fields that every line of the process has.

use std::sync::Arc;
use std::time::Duration;

use crate::level::{Level, Threshold, threshold_named};

/// Lines that are gathered at most, unless a logger is told otherwise.
pub const BUFFER_LINES: usize = 50;
/// How long a line is kept at most, unless a logger is told otherwise.
pub const BUFFER_MS: u64 = 5_000;

/// Levels as a setting names them: `info,db=debug`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LevelSetting {
    pub level: Option<Threshold>,
    pub targets: Vec<(String, Threshold)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One JSON object a line.
    Json,
    /// For people; with colours on a terminal.
    Console { is_coloured: bool },
}

/// When lines leave that nothing hurries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Buffer {
    pub lines: usize,
    pub wait: Duration,
}

impl Default for Buffer {
    fn default() -> Buffer {
        Buffer { lines: BUFFER_LINES, wait: Duration::from_millis(BUFFER_MS) }
    }
}

impl Buffer {
    /// Each line leaves as soon as the thread gets to it.
    pub const NONE: Buffer = Buffer { lines: 1, wait: Duration::ZERO };
}

/// Where settings are read: the process's environment, or a table in its place.
#[derive(Clone)]
pub struct Environment(Arc<Read>);

/// A buffer that is set by the environment is at most so large, so that a slip of the hand loses no minutes at a `kill -9`.
const BUFFER_LINES_MAX: u64 = 10_000;
const BUFFER_MS_MAX: u64 = 60_000;

type Read = dyn Fn(&str) -> Option<String> + Send + Sync;

impl Environment {
    pub fn of_process() -> Environment {
        Environment::of(|name| std::env::var(name).ok())
    }

    pub fn of(read: impl Fn(&str) -> Option<String> + Send + Sync + 'static) -> Environment {
        Environment(Arc::new(read))
    }

    /// A variable that is set and not empty.
    pub fn get(&self, name: &str) -> Option<String> {
        (self.0)(name).filter(|value| !value.is_empty())
    }

    /// A switch: `1` or `true`, `0` or `false`; `None` when it is not set.
    pub fn switch(&self, name: &str) -> Option<bool> {
        let value = self.get(name)?;
        match value.as_str() {
            "1" | "true" => Some(true),
            "0" | "false" => Some(false),
            _ => {
                say(&format!("{name}: {value:?} is neither 1, true, 0 nor false; it counts as not set"));
                None
            }
        }
    }

    /// Levels; those that cannot be read count as not set.
    pub fn levels(&self, name: &str) -> Option<LevelSetting> {
        let value = self.get(name)?;
        let setting = parse_levels(&value);
        if setting.is_none() {
            say(&format!("{name}: {value:?} is not of the form info,target=debug; it counts as not set"));
        }
        setting
    }

    /// Levels of one service.
    pub fn levels_of_service(&self, service: &str) -> Option<LevelSetting> {
        let letter =
            |letter: char| if letter.is_ascii_alphanumeric() { letter.to_ascii_uppercase() } else { '_' };
        self.levels(&format!("CORDWOOD_LEVEL_{}", service.chars().map(letter).collect::<String>()))
    }

    /// When lines leave: what is set goes before what the application says.
    pub(crate) fn buffer(&self, said: Buffer) -> Buffer {
        let lines = self.number("CORDWOOD_BUFFER_RECORDS", 1..=BUFFER_LINES_MAX);
        let wait = self.number("CORDWOOD_BUFFER_MS", 0..=BUFFER_MS_MAX).map(Duration::from_millis);
        Buffer { lines: lines.map_or(said.lines, |lines| lines as usize), wait: wait.unwrap_or(said.wait) }
    }

    fn number(&self, name: &str, within: std::ops::RangeInclusive<u64>) -> Option<u64> {
        let value = self.get(name)?;
        let number = value.parse().ok().filter(|number| within.contains(number));
        if number.is_none() {
            let (least, most) = (within.start(), within.end());
            say(&format!("{name}: {value:?} is no number from {least} to {most}; it counts as not set"));
        }
        number
    }

    /// How lines are written to an output that is a terminal or not.
    pub fn format(&self, is_terminal: bool) -> Format {
        let console = Format::Console { is_coloured: is_terminal && self.get("NO_COLOR").is_none() };
        match self.get("CORDWOOD_FORMAT").as_deref() {
            Some("json") => return Format::Json,
            Some("console") => return console,
            Some(other) => {
                say(&format!("CORDWOOD_FORMAT: {other:?} is neither json nor console; it counts as not set"))
            }
            None => {}
        }
        match self.get("CORDWOOD_ENV").as_deref() {
            Some("production") => Format::Json,
            Some("development") => console,
            _ if is_terminal => console,
            _ => Format::Json,
        }
    }
}

impl std::fmt::Debug for Environment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Environment")
    }
}

/// A program's own name, for who names no service.
pub(crate) fn program() -> String {
    let path = std::env::args_os().next().map(std::path::PathBuf::from).unwrap_or_default();
    path.file_stem().map_or_else(|| "unknown".to_owned(), |name| name.to_string_lossy().into_owned())
}

fn parse_levels(text: &str) -> Option<LevelSetting> {
    let mut setting = LevelSetting::default();
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        match part.split_once('=') {
            // (A filter by spans, as tracing-subscriber has it, would match nothing.)
            Some((target, _)) if target.contains(['[', ']', '{', '}']) => return None,
            Some((target, word)) if !target.trim().is_empty() => {
                setting.targets.push((target.trim().to_owned(), threshold_named(word.trim())?));
            }
            Some(_) => return None,
            None => setting.level = Some(threshold_named(part)?),
        }
    }
    Some(setting)
}

/// One line on stderr about the logger itself.
pub(crate) fn say(what: &str) {
    use std::io::Write;
    // (Nobody may be there to read it.)
    let _ = writeln!(std::io::stderr(), "cordwood-logger: {what}");
}

impl LevelSetting {
    pub(crate) fn level_or_info(&self) -> Threshold {
        self.level.unwrap_or(Some(Level::Info))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Rows = &'static [(&'static str, &'static str)];

    fn environment(rows: Rows) -> Environment {
        Environment::of(|name| {
            rows.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn levels_are_read_or_refused_as_a_whole() {
        let of = |text| parse_levels(text);
        let setting = of(" warn , db=debug,http.client = OFF,").expect("levels");
        assert_eq!(setting.level, Some(Some(Level::Warn)));
        assert_eq!(
            setting.targets,
            [("db".to_owned(), Some(Level::Debug)), ("http.client".to_owned(), None)]
        );
        for bad in [
            "loud",
            "info,db=loud",
            "=info",
            "info db",
            "info,db[request]=debug",
            "[{id=1}]=debug",
            "a==info",
        ] {
            assert_eq!(of(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_format_follows_the_environment_and_the_terminal() {
        let plain = Format::Console { is_coloured: false };
        let coloured = Format::Console { is_coloured: true };
        let rows: [(Rows, Format, Format); 7] = [
            (&[], Format::Json, coloured),
            (&[("CORDWOOD_ENV", "production")], Format::Json, Format::Json),
            (&[("CORDWOOD_ENV", "development")], plain, coloured),
            (&[("CORDWOOD_ENV", "staging")], Format::Json, coloured),
            (&[("CORDWOOD_ENV", "development"), ("CORDWOOD_FORMAT", "json")], Format::Json, Format::Json),
            (&[("CORDWOOD_ENV", "production"), ("CORDWOOD_FORMAT", "console")], plain, coloured),
            (&[("NO_COLOR", "1")], Format::Json, plain),
        ];
        for (rows, elsewhere, terminal) in rows {
            assert_eq!(environment(rows).format(false), elsewhere, "{rows:?}");
            assert_eq!(environment(rows).format(true), terminal, "{rows:?}");
        }
    }
}
