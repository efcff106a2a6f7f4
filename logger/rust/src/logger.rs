//! A logger as a value: its service, its name, and the fields that are bound to it.

use std::fmt;
use std::panic::Location;
use std::sync::Arc;

use crate::call_sites::Key;
use crate::context;
use crate::core::{Core, Parts, Scratch, lend_fields, with_scratch};
use crate::failure::Failure;
use crate::fields::{Fields, Serialized, Value};
use crate::json;
use crate::level::Level;
use crate::request::{Headers, request_fields};

/// Writes records of one service. Cheap to clone; a change gives another logger.
#[derive(Clone, Debug)]
pub struct Logger {
    core: Arc<Core>,
    service: Arc<str>,
    name: Arc<str>,
    bound: Arc<Fields>,
    /// Service, logger and what all lines of the process have.
    base: Arc<Fields>,
}

/// Where a call stands. [`here!`](crate::here) makes one with the function's name.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    pub file: &'static str,
    pub line: u32,
    pub function: Option<&'static str>,
}

impl Logger {
    pub(crate) fn new(core: &Arc<Core>, service: &str) -> Logger {
        core.levels.know_service(service);
        Logger {
            core: Arc::clone(core),
            service: service.into(),
            name: service.into(),
            bound: Arc::new(Fields::new()),
            base: Arc::new(base(core, service, service)),
        }
    }

    /// The same service's logger of another name; levels of targets go by it.
    #[must_use]
    pub fn named(&self, name: &str) -> Logger {
        let base = base(&self.core, &self.service, name);
        Logger { name: name.into(), base: Arc::new(base), ..self.clone() }
    }

    /// The same with fields in every record.
    #[must_use]
    pub fn with(&self, fields: &Fields) -> Logger {
        Logger { bound: Arc::new(fields.over(&self.bound)), ..self.clone() }
    }

    /// The same for a component of the service.
    #[must_use]
    pub fn with_source(&self, source: &str) -> Logger {
        self.with(&Fields::new().with("source", source))
    }

    /// The same for a request, by its headers.
    #[must_use]
    pub fn for_request(&self, headers: &(impl Headers + ?Sized)) -> Logger {
        self.with(&request_fields(headers))
    }

    /// Whether records of this level are written.
    pub fn enabled(&self, level: Level) -> bool {
        self.core.levels.enabled(level, &self.service, &self.name)
    }

    #[track_caller]
    pub fn trace(&self, message: impl fmt::Display) {
        self.at(Level::Trace).send(message);
    }

    #[track_caller]
    pub fn debug(&self, message: impl fmt::Display) {
        self.at(Level::Debug).send(message);
    }

    #[track_caller]
    pub fn info(&self, message: impl fmt::Display) {
        self.at(Level::Info).send(message);
    }

    #[track_caller]
    pub fn warn(&self, message: impl fmt::Display) {
        self.at(Level::Warn).send(message);
    }

    #[track_caller]
    pub fn error(&self, message: impl fmt::Display) {
        self.at(Level::Error).send(message);
    }

    /// An ERROR with all that is known of an error.
    #[track_caller]
    pub fn failed<E: std::error::Error + 'static>(&self, error: &E, message: impl fmt::Display) {
        self.at(Level::Error).error(error).send(message);
    }

    /// An audit event. It is written whatever the levels say. `metadata` is an object, or `()` when there is none.
    #[track_caller]
    pub fn audit(&self, message: impl fmt::Display, action: &str, metadata: impl serde::Serialize) {
        let mut record = self.begin(Level::Info, true, Place::of(Location::caller()));
        record.fields.put("action", action);
        record.fields.put("metadata", Serialized(metadata));
        record.send(message);
    }

    /// Begins a record: `log.at(Level::Info).field("orderId", 17).send("paid")`.
    #[track_caller]
    pub fn at(&self, level: Level) -> Record<'_> {
        self.begin(level, false, Place::of(Location::caller()))
    }

    /// The same at a place that is known.
    pub fn at_place(&self, level: Level, place: Place) -> Record<'_> {
        self.begin(level, false, place)
    }

    pub(crate) fn writes_scopes(&self) -> bool {
        self.core.levels.scopes() && self.enabled(Level::Debug)
    }

    fn begin(&self, level: Level, is_audit: bool, place: Place) -> Record<'_> {
        let logger = (is_audit || self.enabled(level)).then_some(self);
        let fields = if logger.is_some() { lend_fields() } else { Fields::new() };
        Record { logger, level, is_audit, place, fields }
    }
}

fn base(core: &Core, service: &str, name: &str) -> Fields {
    Fields::new().with("service", service).with("logger", name).over(&core.process)
}

impl Place {
    /// Of the caller, without its function's name.
    #[track_caller]
    pub fn here() -> Place {
        Place::of(Location::caller())
    }

    fn of(location: &'static Location<'static>) -> Place {
        Place { file: location.file(), line: location.line(), function: None }
    }

    pub(crate) fn put(&self, fields: &mut Fields) {
        fields.put_known("file", |out| json::text(out, within_crate(self.file)));
        fields.put_known("line", |out| json::integer(out, u64::from(self.line)));
        fields.put("function", self.function);
    }
}

/// A file of a crate that cargo has fetched, without the folder in which it lay where the program was built.
pub(crate) fn within_crate(file: &str) -> &str {
    let fetched = file.split_once("/registry/src/").and_then(|(_, fetched)| fetched.split_once('/'));
    fetched.map_or(file, |(_, of_crate)| of_crate)
}

/// A record in the making. It is written by [`Record::send`] alone.
#[derive(Debug)]
#[must_use = "`send` writes it"]
pub struct Record<'a> {
    /// `None`: the levels do not let it through.
    logger: Option<&'a Logger>,
    level: Level,
    is_audit: bool,
    place: Place,
    fields: Fields,
}

impl Record<'_> {
    pub fn field(mut self, name: &str, value: impl Value) -> Self {
        if self.logger.is_some() {
            self.fields.put(name, value);
        }
        self
    }

    /// A field as serde serializes it: an object, a list.
    pub fn json(self, name: &str, value: &impl serde::Serialize) -> Self {
        self.field(name, Serialized(value))
    }

    pub fn error<E: std::error::Error + 'static>(self, error: &E) -> Self {
        if self.logger.is_none() {
            return self;
        }
        self.failure(&Failure::of(error))
    }

    pub fn failure(mut self, failure: &Failure) -> Self {
        if self.logger.is_some() {
            failure.put(&mut self.fields);
        }
        self
    }

    pub fn place(mut self, place: Place) -> Self {
        self.place = place;
        self
    }

    /// Writes it.
    pub fn send(self, message: impl fmt::Display) {
        let Some(logger) = self.logger else { return };
        with_scratch(|scratch| {
            json::written(&mut scratch.message, format_args!("{message}"));
            scratch.call = self.fields;
            let Scratch { line, message, call, origin, call_sites } = scratch;
            let place = self.place;
            let origin = if logger.core.is_located {
                call_sites
                    .of(Key::of_call(place.file, place.line, place.function), |origin| place.put(origin))
            } else {
                origin
            };
            context::with_current(|around| {
                let parts = Parts {
                    level: self.level,
                    is_audit: self.is_audit,
                    message,
                    call,
                    bound: Some(&logger.bound),
                    around,
                    origin,
                    base: &logger.base,
                };
                logger.core.write(line, &parts);
            });
        });
    }
}

#[cfg(test)]
mod tests {
    use super::within_crate;

    #[test]
    fn a_file_says_nothing_of_the_machine_that_built_it() {
        let rows = [
            (
                "/home/ci/.cargo/registry/src/index.example-1949cf8c6b5b557f/db-0.1.0/src/a.rs",
                "db-0.1.0/src/a.rs",
            ),
            ("agent/src/main.rs", "agent/src/main.rs"),
            ("/registry/src/a.rs", "/registry/src/a.rs"),
        ];
        for (file, expected) in rows {
            assert_eq!(within_crate(file), expected);
        }
    }
}
