//! Redis, from the system's package, in memory only.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::Signal;

use super::home::Home;
use super::ports::Port;
use super::process::{Process, Program};
use super::wait::wait_for;

pub struct Redis {
    server: Process,
    address: IpAddr,
    port: Port,
    _home: Home,
}

impl Redis {
    pub async fn start() -> Result<Redis> {
        Redis::start_at([127, 0, 0, 1].into()).await
    }

    /// Listens there and on loopback; clients are told the first.
    pub async fn start_at(address: IpAddr) -> Result<Redis> {
        let home = Home::new("redis")?;
        let port = Port::free()?;
        let server = Program::new("redis", "redis-server", home.path())
            .args(["--bind", "127.0.0.1"])
            .args((!address.is_loopback()).then(|| address.to_string()))
            .args(["--protected-mode", "no", "--save", "", "--appendonly", "no", "--port"])
            .arg(port.number().to_string())
            .stop_by(Signal::TERM, Duration::from_secs(5))
            .start()?;
        let mut redis = Redis { server, address, port, _home: home };
        redis.wait_ready().await?;
        Ok(redis)
    }

    /// `redis://address:port`.
    pub fn url(&self) -> String {
        format!("redis://{}:{}", self.address, self.port.number())
    }

    pub fn port(&self) -> u16 {
        self.port.number()
    }

    pub async fn client(&self) -> Result<redis::aio::MultiplexedConnection> {
        let client = redis::Client::open(self.url()).context("read the Redis URL")?;
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
