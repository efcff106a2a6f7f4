//! `cordwood`: everything in one process on a laptop (`standalone`), and what a person asks of the store (`query`, `tail`,
//! `audit`, `plan`, `crds`). Wires the other rooms together; decides nothing that they decide.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod args;
//mod audit;
//mod crds;
mod database;
mod embedded_postgres;
//mod filters;
mod output;
//mod plan;
//mod query;
//mod resources;
//mod standalone;
//mod tail;
mod times;

use std::future::Future;
use std::process::ExitCode;

use clap::{CommandFactory, Parser};
use cordwood_service::Failure;

use args::{Cli, Command};

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
        Command::Crds(_) => on_runtime(async { Ok(Outcome::Done) }),
        Command::Completions(args) => {
            clap_complete::generate(args.shell, &mut Cli::command(), NAME, &mut std::io::stdout());
            Ok(Outcome::Done)
        }
        Command::Standalone(_) => Ok(Outcome::Done),
        Command::Query(_) => Ok(Outcome::Done),
        Command::Tail(_) => Ok(Outcome::Done),
        Command::Audit(a) => on_runtime(async move {
            let t = std::time::Instant::now();
            let d = database::Database::open(&a.database, true).await?;
            println!("{:?} {:?}", d, t.elapsed());
            tokio::time::sleep(std::time::Duration::from_secs(
                a.stream.and_then(|s| s.parse().ok()).unwrap_or(0),
            ))
            .await;
            let t = std::time::Instant::now();
            d.close().await;
            println!("closed {:?}", t.elapsed());
            Ok(Outcome::Done)
        }),
        Command::Plan(_) => Ok(Outcome::Done),
    };
    match result {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::Bad) => ExitCode::FAILURE,
        // Whoever read our output has seen enough (`| head`).
        Err(Failure::Run(error)) if is_broken_pipe(&error) => ExitCode::SUCCESS,
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
