//! Scopes: `[name][Entry]`, `[name][Coherence:OK]`, `[name][Exit]` at DEBUG, while the switch is on.

use std::fmt;

use crate::level::Level;
use crate::logger::{Logger, Place};

/// A scope that is open; it ends when this is dropped.
#[derive(Debug)]
#[must_use = "a scope ends when its guard is dropped"]
pub struct Scope {
    /// `None`: the switch was off, or DEBUG not let through, when it began.
    logger: Option<Logger>,
    name: &'static str,
    place: Place,
    failure: Option<String>,
}

impl Scope {
    /// Opens a scope of a logger at a place: `Scope::open(&log, "load", here!())`.
    pub fn open(logger: &Logger, name: &'static str, place: Place) -> Scope {
        let logger = logger.writes_scopes().then(|| logger.clone());
        let scope = Scope { logger, name, place, failure: None };
        scope.say(format_args!("[{name}][Entry]"));
        scope
    }

    /// Has the scope end with `Coherence:Failed`.
    pub fn failed(&mut self, error: impl fmt::Display) {
        if self.logger.is_some() {
            self.failure = Some(error.to_string());
        }
    }

    fn say(&self, message: fmt::Arguments<'_>) {
        if let Some(logger) = &self.logger {
            logger.at_place(Level::Debug, self.place).field("scope", self.name).send(message);
        }
    }
}

impl Drop for Scope {
    fn drop(&mut self) {
        if self.failure.is_none() && std::thread::panicking() {
            self.failed("panicked");
        }
        let name = self.name;
        match &self.failure {
            Some(failure) => self.say(format_args!("[{name}][Coherence:Failed] {failure}")),
            None => self.say(format_args!("[{name}][Coherence:OK]")),
        }
        self.say(format_args!("[{name}][Exit]"));
    }
}

impl Logger {
    /// Runs `work` in a scope. A result that is an error makes it fail, and goes on to the caller.
    ///
    /// # Errors
    /// Those of `work`.
    #[track_caller]
    pub fn scope<T, E: fmt::Display>(
        &self,
        name: &'static str,
        work: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, E> {
        let mut scope = Scope::open(self, name, Place::here());
        let result = work();
        if let Err(error) = &result {
            scope.failed(error);
        }
        result
    }

    /// The same for work that is async.
    ///
    /// # Errors
    /// Those of `work`.
    pub async fn scope_async<T, E: fmt::Display>(
        &self,
        name: &'static str,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let mut scope = Scope::open(self, name, Place::here());
        let result = work.await;
        if let Err(error) = &result {
            scope.failed(error);
        }
        result
    }
}
