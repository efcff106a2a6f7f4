//! Redis, from the system's package, in memory only.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use cordwood_service::RedisSettings;
use rustix::process::Signal;

use super::home::Home;
use super::identity_provider::certificates;
use super::ports::Port;
use super::process::{Process, Program};
use super::wait::wait_for;

pub struct Redis {
    server: Process,
    address: IpAddr,
    port: Port,
    /// Of the CA that signed its certificate, where it speaks TLS alone.
    ca_file: Option<PathBuf>,
    _home: Home,
}

impl Redis {
    pub async fn start() -> Result<Redis> {
        Redis::start_at([127, 0, 0, 1].into()).await
    }

    /// Listens there and on loopback; clients are told the first.
    pub async fn start_at(address: IpAddr) -> Result<Redis> {
        Redis::start_with(address, false).await
    }

    /// Takes nothing that is not encrypted, on loopback.
    pub async fn start_encrypted() -> Result<Redis> {
        Redis::start_with([127, 0, 0, 1].into(), true).await
    }

    async fn start_with(address: IpAddr, is_encrypted: bool) -> Result<Redis> {
        let home = Home::new("redis")?;
        let port = Port::free()?;
        let at = |name: &str| home.path().join(name);
        let ca_file = is_encrypted.then(|| at("ca.crt"));
        let mut tls = Vec::new();
        if is_encrypted {
            certificates(home.path(), address)?;
            for (name, file) in [("cert", "tls.crt"), ("key", "tls.key"), ("ca-cert", "ca.crt")] {
                tls.extend([format!("--tls-{name}-file"), at(file).display().to_string()]);
            }
            tls.extend(["--tls-auth-clients", "no", "--port", "0", "--tls-port"].map(str::to_owned));
        } else {
            tls.push("--port".to_owned());
        }
        let server = Program::new("redis", "redis-server", home.path())
            .args(["--bind", "127.0.0.1"])
            .args((!address.is_loopback()).then(|| address.to_string()))
            .args(["--protected-mode", "no", "--save", "", "--appendonly", "no"])
            .args(tls)
            .arg(port.number().to_string())
            .stop_by(Signal::TERM, Duration::from_secs(5))
            .start()?;
        let mut redis = Redis { server, address, port, ca_file, _home: home };
        redis.wait_ready().await?;
        Ok(redis)
    }

    /// `redis://address:port`, or `rediss://`.
    pub fn url(&self) -> String {
        let scheme = if self.ca_file.is_some() { "rediss" } else { "redis" };
        format!("{scheme}://{}:{}", self.address, self.port.number())
    }

    pub fn settings(&self) -> RedisSettings {
        RedisSettings { url: self.url(), password_file: None, ca_file: self.ca_file.clone() }
    }

    pub fn port(&self) -> u16 {
        self.port.number()
    }

    pub async fn client(&self) -> Result<redis::aio::MultiplexedConnection> {
        let client = match self.settings().ca()? {
            None => redis::Client::open(self.url()),
            ca => redis::Client::build_with_tls(
                self.url(),
                redis::TlsCertificates { client_tls: None, root_cert: ca },
            ),
        };
        let client = client.context("read the Redis URL")?;
        client.get_multiplexed_async_connection().await.with_context(|| format!("connect to {}", self.url()))
    }

    /// SIGKILL; what it held is gone.
    pub fn kill(&mut self) {
        self.server.kill();
    }

    /// Stops answering without closing a connection, as a hanging host does; until [`Redis::resume`].
    pub fn hang(&self) -> Result<()> {
        self.server.signal(Signal::STOP)
    }

    pub fn resume(&self) -> Result<()> {
        self.server.signal(Signal::CONT)
    }

    /// Starts an empty one on the same port.
    pub async fn restart(&mut self) -> Result<()> {
        self.server.restart()?;
        self.wait_ready().await
    }

    async fn wait_ready(&mut self) -> Result<()> {
        self.server.check()?;
        wait_for("Redis to answer", Duration::from_secs(20), || async {
            let mut client = self.client().await?;
            redis::cmd("PING").query_async::<String>(&mut client).await.context("PING")
        })
        .await
        .map(drop)
    }
}
