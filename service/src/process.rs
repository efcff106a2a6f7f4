//! Ends a process by a signal or an error, with the exit code that belongs to it.

use std::future::Future;
use std::process::ExitCode;

use tokio_util::sync::CancellationToken;

use crate::flush_logging;

/// Why a process ends with something other than 0.
#[derive(Debug)]
pub enum Failure {
    /// The configuration or the arguments are wrong: exit code 2, nothing was done.
    Config(anyhow::Error),
    /// Something failed while running: exit code 1.
    Run(anyhow::Error),
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Failure {
        Failure::Run(error)
    }
}

impl From<crate::ConfigError> for Failure {
    fn from(error: crate::ConfigError) -> Failure {
        Failure::Config(error.into())
    }
}

/// Cancelled at the first SIGTERM or SIGINT; a second one ends the process at once with code 130.
///
/// # Errors
/// When the process may not install signal handlers.
pub fn shutdown_signal() -> std::io::Result<CancellationToken> {
    use tokio::signal::unix::{SignalKind, signal};
    let token = CancellationToken::new();
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let cancelled = token.clone();
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            if cancelled.is_cancelled() {
                std::process::exit(130);
            }
            tracing::info!("stopping: finishing what has been read (a second signal stops at once)");
            cancelled.cancel();
        }
    });
    Ok(token)
}

/// Prints a failure as one line, `<program>: <what>: <why>`, and gives its exit code.
#[allow(clippy::print_stderr)]
pub fn exit_with(program: &str, result: Result<(), Failure>) -> ExitCode {
    // (What the program logged stands above why it ended.)
    flush_logging();
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Config(error)) => {
            eprintln!("{program}: {}", one_line(&error));
            ExitCode::from(2)
        }
        Err(Failure::Run(error)) => {
            eprintln!("{program}: {}", one_line(&error));
            ExitCode::FAILURE
        }
    }
}

/// Runs a part on a runtime of its own: `fn main() -> ExitCode { run_to_end("cordwood-agent", async { ... }) }`.
pub fn run_to_end(program: &str, part: impl Future<Output = Result<(), Failure>>) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    match runtime {
        Ok(runtime) => {
            let code = exit_with(program, runtime.block_on(part));
            runtime.shutdown_timeout(std::time::Duration::from_secs(2));
            code
        }
        Err(error) => {
            exit_with(program, Err(Failure::Run(anyhow::Error::new(error).context("start the runtime"))))
        }
    }
}

/// The whole chain on one line; causes that a message already contains are not said twice.
fn one_line(error: &anyhow::Error) -> String {
    let mut line = String::new();
    for cause in error.chain() {
        let text = cause.to_string().replace('\n', " ");
        if !line.contains(&text) {
            if !line.is_empty() {
                line.push_str(": ");
            }
            line.push_str(&text);
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_one_line_and_says_nothing_twice() {
        let error =
            anyhow::anyhow!("no such host").context("connect to kafka:9092: no such host").context("start");
        assert_eq!(one_line(&error), "start: connect to kafka:9092: no such host");
    }
}
