//! Runs programs of an older version: to keep what they leave behind, and to let them hand over to this version.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Subcommand;
use cordwood_tests::upgrade::{hand_over, make};

#[derive(Subcommand)]
pub enum Upgrade {
    /// Has `cordwood` of an older version be killed at work, and packs what it leaves behind for tests/tests/upgrade.rs.
    Fixture {
        /// Folder of its programs.
        programs: PathBuf,
        /// The archive to write.
        archive: PathBuf,
    },
    /// Kills an agent and a writer of an older version under load and goes on with those of this one (in `CORDWOOD_BIN_DIR`).
    HandOver {
        /// Folder of their programs.
        programs: PathBuf,
    },
}

/// # Errors
/// What was lost, or came twice, or could not be done.
pub fn run(upgrade: Upgrade) -> Result<()> {
    let runtime = tokio::runtime::Runtime::new().context("start the runtime")?;
    runtime.block_on(async {
        match upgrade {
            Upgrade::Fixture { programs, archive } => make(&programs.join("cordwood"), &archive).await,
            Upgrade::HandOver { programs } => {
                for agent_first in [true, false] {
                    hand_over(programs.clone(), agent_first).await?;
                }
                Ok(())
            }
        }
    })
}
