//! Writes an error into a record: type, code, message, the chain of its causes, a stack.

use std::error::Error;
use std::fmt::{self, Write as _};

use crate::fields::{Fields, Serialized};

/// Causes that are followed; a longer chain is most likely a circle.
const CAUSES_MAX: usize = 32;
/// Bytes of a Debug form that are looked at for a type's name.
const NAME_BYTES_MAX: usize = 64;

/// What a record says of an error.
#[derive(Clone, Debug, Default)]
pub struct Failure {
    kind: String,
    message: String,
    code: Option<String>,
    /// Messages of the causes, the nearest first.
    chain: Vec<String>,
    backtrace: Option<String>,
}

impl Failure {
    /// An error that is no value of its own.
    pub fn new(kind: impl Into<String>, message: impl Into<String>) -> Failure {
        Failure { kind: kind.into(), message: message.into(), ..Failure::default() }
    }

    /// Of an error whose type is known.
    pub fn of<E: Error + 'static>(error: &E) -> Failure {
        Failure { kind: short_name(std::any::type_name::<E>()), ..Failure::of_dyn(error) }
    }

    /// Of any error. Its type is read from its Debug form, where that begins with a name.
    pub fn of_dyn(error: &(dyn Error + 'static)) -> Failure {
        let io = error.downcast_ref::<std::io::Error>();
        let kind = if io.is_some() { "io::Error".to_owned() } else { name_in_debug(error) };
        let code = io.map(|io| format!("{:?}", io.kind()));
        let chain = std::iter::successors(error.source(), |cause: &&(dyn Error + 'static)| (*cause).source())
            .take(CAUSES_MAX)
            .map(ToString::to_string)
            .collect();
        let backtrace = std::backtrace::Backtrace::capture();
        let is_captured = backtrace.status() == std::backtrace::BacktraceStatus::Captured;
        Failure {
            kind,
            message: error.to_string(),
            code,
            chain,
            backtrace: is_captured.then(|| backtrace.to_string()),
        }
    }

    /// The code that the application knows it by.
    #[must_use]
    pub fn code(mut self, code: impl Into<String>) -> Failure {
        self.code = Some(code.into());
        self
    }

    /// The error's own backtrace, such as anyhow's.
    #[must_use]
    pub fn backtrace(mut self, backtrace: impl fmt::Display) -> Failure {
        self.backtrace = Some(backtrace.to_string());
        self
    }

    /// A further cause, behind those that are known.
    #[must_use]
    pub fn caused_by(mut self, message: impl Into<String>) -> Failure {
        self.chain.push(message.into());
        self
    }

    pub(crate) fn put(&self, fields: &mut Fields) {
        fields.put("error", &self.message);
        if !self.kind.is_empty() {
            fields.put("errorType", &self.kind);
        }
        fields.put("errorCode", &self.code);
        fields.put("errorStack", self.stack());
        if !self.chain.is_empty() {
            fields.put("errorChain", Serialized(&self.chain));
        }
    }

    fn stack(&self) -> String {
        let mut stack = match self.kind.as_str() {
            "" => self.message.clone(),
            kind => format!("{kind}: {}", self.message),
        };
        for cause in &self.chain {
            let _ = write!(stack, "\nCaused by: {cause}");
        }
        if let Some(backtrace) = &self.backtrace {
            let _ = write!(stack, "\n{}", backtrace.trim_end());
        }
        stack
    }
}

/// `shop::PaymentError<T>` is `PaymentError`; of a name that says nothing by itself its module stays (`io::Error`).
fn short_name(full: &str) -> String {
    let full = full.split('<').next().unwrap_or_default();
    let mut parts = full.rsplit("::");
    let last = parts.next().unwrap_or_default();
    match parts.next() {
        Some(module) if matches!(last, "Error" | "ErrorKind") => format!("{module}::{last}"),
        _ => last.to_owned(),
    }
}

/// The name with which a derived Debug form begins (`NotFound { .. }`, `Timeout(5)`); empty where it begins otherwise.
fn name_in_debug(error: &(dyn Error + 'static)) -> String {
    struct Head(String);
    impl fmt::Write for Head {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            self.0.push_str(text);
            // (Enough is seen.)
            if self.0.len() > NAME_BYTES_MAX { Err(fmt::Error) } else { Ok(()) }
        }
    }
    let mut head = Head(String::new());
    let is_all = write!(head, "{error:?}").is_ok();
    let end = head.0.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(head.0.len());
    let (name, rest) = head.0.split_at(end);
    let is_name = name.starts_with(|c: char| c.is_ascii_uppercase())
        && (rest.starts_with(" {") || rest.starts_with('(') || (rest.is_empty() && is_all));
    if is_name { name.to_owned() } else { String::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct PaymentError {
        cause: std::io::Error,
    }

    impl fmt::Display for PaymentError {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("card refused")
        }
    }

    impl Error for PaymentError {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            Some(&self.cause)
        }
    }

    #[test]
    fn the_type_is_found_with_and_without_its_name() {
        let error =
            PaymentError { cause: std::io::Error::new(std::io::ErrorKind::ConnectionReset, "reset by peer") };
        for failure in [Failure::of(&error), Failure::of_dyn(&error)] {
            assert_eq!((failure.kind.as_str(), failure.message.as_str()), ("PaymentError", "card refused"));
            assert_eq!(failure.chain, ["reset by peer"]);
            assert!(failure.stack().starts_with("PaymentError: card refused\nCaused by: reset by peer"));
        }
        let io = Failure::of_dyn(&error.cause);
        assert_eq!((io.kind.as_str(), io.code.as_deref()), ("io::Error", Some("ConnectionReset")));
        let number = "x".parse::<u8>().expect_err("no number");
        assert_eq!(Failure::of_dyn(&number).kind, "ParseIntError");
        let text: Box<dyn Error> = "plain words".into();
        assert_eq!(Failure::of_dyn(&*text).kind, "");
        assert_eq!(short_name("serde_json::error::Error"), "error::Error");
    }
}
