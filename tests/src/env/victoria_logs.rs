//! VictoriaLogs, built from its Go module into the cache: the benchmark measures it beside Cordwood.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::Signal;

use super::cache;
use super::home::Home;
use super::kubernetes::go;
use super::ports::Port;
use super::process::{Process, Program};
use crate::http;

pub const VERSION: &str = "1.52.2";
const START_LIMIT: Duration = Duration::from_secs(60);

/// A running single node with its own settings. Dropping it removes its data.
pub struct VictoriaLogs {
    server: Process,
    port: Port,
    home: Home,
}

impl VictoriaLogs {
    /// # Errors
    /// Also when its module cannot be had or built.
    pub async fn start() -> Result<VictoriaLogs> {
        let program = binary()?;
        let home = Home::new("victoria-logs")?;
        let port = Port::free()?;
        let server = Program::new("victoria-logs", program, home.path())
            .arg(format!("-storageDataPath={}", home.join("data").display()))
            .arg(format!("-httpListenAddr=127.0.0.1:{}", port.number()))
            .stop_by(Signal::TERM, Duration::from_secs(60))
            .start()?;
        let mut logs = VictoriaLogs { server, port, home };
        logs.wait_ready().await?;
        Ok(logs)
    }

    /// `host:port`.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port.number())
    }

    pub fn data(&self) -> PathBuf {
        self.home.join("data")
    }

    pub fn process(&self) -> &Process {
        &self.server
    }

    pub fn stop(&mut self) {
        self.server.stop();
    }

    /// Starts it again on the same data and port.
    pub async fn restart(&mut self) -> Result<()> {
        self.server.restart()?;
        self.wait_ready().await
    }

    async fn wait_ready(&mut self) -> Result<()> {
        let (address, began) = (self.address(), Instant::now());
        loop {
            self.server.check()?;
            match http::get(&address, "/health").await {
                Ok((200, _)) => return Ok(()),
                answer if began.elapsed() > START_LIMIT => {
                    bail!("VictoriaLogs is not ready: {answer:?}\n{}", self.server.log_tail(20));
                }
                _ => tokio::time::sleep(Duration::from_millis(30)).await,
            }
        }
    }
}

fn binary() -> Result<PathBuf> {
    let what = format!("VictoriaLogs {VERSION} (built by Go from source, some minutes)");
    let folder = cache::entry(&format!("victoria-logs-{VERSION}"), &what, |folder| {
        cache::run(
            go().args(["install", "-trimpath", "-ldflags", "-s -w"])
                .arg(format!("github.com/VictoriaMetrics/VictoriaLogs/app/victoria-logs@v{VERSION}"))
                .env("GOBIN", folder)
                .current_dir(folder),
        )
        .map(drop)
    })
    .context("VictoriaLogs cannot be built")?;
    Ok(folder.join("victoria-logs"))
}
