//! Colours output, only on a terminal. Colour is never the only sign of anything.

use std::io::IsTerminal;

use cordwood_core::level::Level;

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum ColorChoice {
    Auto,
    Always,
    Never,
}

impl ColorChoice {
    /// `NO_COLOR` (https://no-color.org) turns `auto` off, as does `TERM=dumb`.
    fn wanted(self, is_terminal: bool) -> bool {
        match self {
            ColorChoice::Always => true,
            ColorChoice::Never => false,
            ColorChoice::Auto => {
                is_terminal
                    && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
                    && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
            }
        }
    }
}

#[derive(Clone, Copy, Debug)]
pub struct Style {
    color: bool,
}

impl Style {
    pub fn stdout(choice: ColorChoice) -> Style {
        Style { color: choice.wanted(std::io::stdout().is_terminal()) }
    }

    pub fn stderr(choice: ColorChoice) -> Style {
        Style { color: choice.wanted(std::io::stderr().is_terminal()) }
    }

    pub fn is_coloured(self) -> bool {
        self.color
    }

    #[cfg(test)]
    pub fn plain() -> Style {
        Style { color: false }
    }

    fn paint(self, code: &str, text: &str) -> String {
        if self.color { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    pub fn level(self, level: Level, text: &str) -> String {
        match level {
            Level::Error => self.paint("1;31", text),
            Level::Warn => self.paint("33", text),
            Level::Info => self.paint("32", text),
            Level::Debug | Level::Trace => self.paint("2", text),
        }
    }

    pub fn dim(self, text: &str) -> String {
        self.paint("2", text)
    }

    pub fn bold(self, text: &str) -> String {
        self.paint("1", text)
    }

    pub fn good(self, text: &str) -> String {
        self.paint("32", text)
    }

    pub fn bad(self, text: &str) -> String {
        self.paint("1;31", text)
    }
}
