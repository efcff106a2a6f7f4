//! `cargo xtask`: what the project does for its own developers. `generate` writes what is generated, `env` keeps one of each
//! real part running, `bench` measures, `upgrade` has programs of an older version hand over.

mod bench;
mod env;
mod generate;
mod upgrade;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Chores of Cordwood's developers")]
struct Arguments {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Keeps one of each real part running for work by hand.
    #[command(subcommand)]
    Env(env::Env),
    /// Measures the whole with release binaries and prints a table (`cargo build --release --workspace --bins` first).
    Bench(bench::Bench),
    /// Writes the files that are generated (custom resources' YAML, its copy in the chart); with --check only compares.
    Generate {
        #[arg(long)]
        check: bool,
    },
    /// What only programs of an older version can show.
    #[command(subcommand)]
    Upgrade(upgrade::Upgrade),
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().chore {
        Chore::Env(env) => env::run(env),
        Chore::Bench(bench) => bench::run(&bench),
        Chore::Generate { check } => generate::run(check),
        Chore::Upgrade(upgrade) => upgrade::run(upgrade),
    }
}
