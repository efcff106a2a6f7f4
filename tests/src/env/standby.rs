//! A primary that may be lost: a standby that streams from it, and the address under which clients find whichever of the two is the
//! primary, as a Service of Kubernetes is (CloudNativePG's `-rw`): it stays, what it leads to changes, sessions break.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::postgres::{Postgres, PostgresOptions};
use super::proxy::{Fault, Proxy};
use super::wait::wait_for;

/// Of the primary: a transaction is committed when the standby has it.
pub const SYNCHRONOUS: (&str, &str) = ("synchronous_standby_names", "standby");

pub struct Standby {
    /// The one of the two that is not the primary.
    pub other: Postgres,
    /// Between the two.
    stream: Proxy,
    /// What clients connect to.
    service: Proxy,
}

impl Standby {
    /// `primary` was started a moment ago: its data folder began as the standby's does.
    pub async fn of(primary: &Postgres, version: u32) -> Result<Standby> {
        let (stream, service) =
            (Proxy::start(address(primary)).await?, Proxy::start(address(primary)).await?);
        let options =
            PostgresOptions { follows: Some(stream.address()), ..PostgresOptions::version(version) };
        let other = Postgres::start_with(options).await?;
        let standby = Standby { other, stream, service };
        standby.streams(primary).await?;
        Ok(standby)
    }

    /// Of the address that stays.
    pub fn url(&self, postgres: &Postgres, database: &str) -> String {
        postgres.url_through(self.service.address().ip(), self.service.address().port(), database)
    }

    async fn streams(&self, primary: &Postgres) -> Result<()> {
        let client = primary.client().await?;
        wait_for("the standby to stream", Duration::from_secs(30), async || {
            let row = client
                .query_one("select count(*) from pg_stat_replication where state = 'streaming'", &[])
                .await?;
            ensure!(row.get::<_, i64>(0) == 1, "it does not");
            Ok(())
        })
        .await
        .with_context(|| self.other.process().log_tail(20))
    }

    /// From now on the standby gets nothing, and the primary goes on (if it does not wait for the standby).
    pub fn cut_off(&self) {
        self.stream.set(Fault::Cut);
    }

    /// The primary dies with all its sessions, and the standby takes over. Nobody reaches the new primary before [`Standby::lead_to`].
    /// Afterwards `primary` is the new one, and `other` the one that died.
    pub async fn fail_over(&mut self, primary: &mut Postgres) -> Result<()> {
        self.service.set(Fault::Cut);
        primary.kill();
        self.other.promote().await?;
        std::mem::swap(primary, &mut self.other);
        Ok(())
    }

    /// Open sessions break, and a client that connects reaches this one.
    pub async fn lead_to_other(&self) -> Result<()> {
        self.lead_to(&self.other).await
    }

    /// Open sessions break, and a client that connects reaches this one.
    pub async fn lead_to(&self, postgres: &Postgres) -> Result<()> {
        self.service.set(Fault::Cut);
        self.service.set_upstream(address(postgres));
        // Each open connection notices the cut by itself.
        tokio::time::sleep(Duration::from_millis(50)).await;
        self.service.set(Fault::None);
        Ok(())
    }

    /// A client that connects from now on reaches this one; open sessions stay where they are.
    pub fn turn_to(&self, postgres: &Postgres) {
        self.service.set_upstream(address(postgres));
    }
}

fn address(postgres: &Postgres) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], postgres.port()))
}
