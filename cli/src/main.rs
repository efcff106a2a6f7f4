//! `cordwood`: everything in one process on a laptop (`standalone`), and what a person asks of the store (`query`, `tail`,
//! `audit`, `plan`, `retention`, `store`, `crds`). Wires the other rooms together; decides nothing that they decide.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod args;
mod audit;
mod crds;
mod database;
mod embedded_postgres;
mod filters;
mod hint;
mod logging;
mod output;
mod plan;
mod query;
mod resources;
mod retention;
mod standalone;
mod tail;
mod times;
mod verify;

use std::future::Future;
use std::process::ExitCode;

use clap::{CommandFactory, Parser};
use cordwood_service::Failure;

use args::{Cli, Command, RetentionCommand, StoreCommand};

const NAME: &str = "cordwood";

/// How a command ends when it does not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Done,
    /// It worked, and what it found is bad (exit code 1).
    Bad,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let color = cli.color;
    let result = match cli.command {
        Command::PostgresKeeper { data_dir } => embedded_postgres::run_keeper(&data_dir)
            .map(|()| Outcome::Done)
            .map_err(|error| Failure::Run(error.into())),
        Command::Crds(args) => crds::run(&args),
        Command::Completions(args) => {
            clap_complete::generate(args.shell, &mut Cli::command(), NAME, &mut std::io::stdout());
            Ok(Outcome::Done)
        }
        Command::Standalone(args) => on_runtime(standalone::run(args, color)),
        Command::Query(args) => on_runtime(query::run(args, color)),
        Command::Tail(args) => on_runtime(tail::run(args, color)),
        Command::Audit(args) => on_runtime(audit::run(args, color)),
        Command::Plan(args) => on_runtime(plan::run(args, color)),
        Command::Retention(args) => match args.command {
            RetentionCommand::Report(args) => on_runtime(retention::report(args, color)),
        },
        Command::Store(args) => match args.command {
            StoreCommand::Verify(args) => on_runtime(verify::run(args, color)),
        },
    };
    match result {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::Bad) => ExitCode::FAILURE,
        // The program that read our output has seen enough (`| head`).
        Err(Failure::Run(error)) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(Failure::Config(error)) if error.is::<filters::Pointed>() => {
            // Several lines, one of which points.
            eprintln!("{NAME}: {error}");
            ExitCode::from(2)
        }
        Err(failure) => cordwood_service::exit_with(NAME, Err(failure)),
    }
}

fn on_runtime(part: impl Future<Output = Result<Outcome, Failure>>) -> Result<Outcome, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| Failure::Run(anyhow::Error::new(error).context("start the runtime")))?;
    let result = runtime.block_on(part);
    runtime.shutdown_timeout(std::time::Duration::from_secs(2));
    result
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause.downcast_ref::<std::io::Error>().is_some_and(|io| io.kind() == std::io::ErrorKind::BrokenPipe)
    })
}

/// Microseconds since the Unix epoch; the one place where commands read the clock.
fn now_us() -> i64 {
    jiff::Timestamp::now().as_microsecond()
}
