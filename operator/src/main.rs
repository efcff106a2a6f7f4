//! `cordwood-operator`: wiring only.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use cordwood_operator::{Config, run};
use cordwood_service::{Failure, init_logging, load_config, run_to_end, shutdown_signal};

/// Turns LogRetentionPolicies into table partitions and LogLevelConfigs into level rules.
#[derive(Debug, Parser)]
#[command(name = "cordwood-operator", version)]
struct Arguments {
    /// The configuration file (YAML); without one everything is as the defaults and the environment say.
    #[arg(long, value_name = "FILE", env = "CORDWOOD_OPERATOR_CONFIG")]
    config: Option<PathBuf>,
    /// Reads the configuration, says what is wrong with it, and ends.
    #[arg(long)]
    check_config: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    run_to_end("cordwood-operator", async move {
        let config: Config = match &arguments.config {
            Some(path) => load_config(path)?,
            None => Config::default(),
        };
        let wrong = |error: String| Failure::Config(anyhow::anyhow!("configuration: {error}"));
        config.check().map_err(wrong)?;
        cordwood_store::connect::Store::new(&config.database.clone().or_environment())
            .map_err(|error| wrong(error.to_string()))?;
        if arguments.check_config {
            return Ok(());
        }
        init_logging("cordwood-operator");
        if let Some(path) = &config.kubernetes.kubeconfig_file {
            std::fs::File::open(path)
                .map_err(|error| wrong(format!("kubernetes.kubeconfig_file {}: {error}", path.display())))?;
        }
        let shutdown = shutdown_signal().map_err(anyhow::Error::from)?;
        run(config, shutdown).await.map_err(Failure::Run)
    })
}
