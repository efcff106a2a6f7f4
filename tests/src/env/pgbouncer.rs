//! PgBouncer, from the system's package, before a PostgreSQL of [`Postgres`].

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::Signal;

use super::home::Home;
use super::ports::Port;
use super::postgres::Postgres;
use super::process::{Process, Program, User};
use super::wait::wait_for;

pub struct PgBouncer {
    _server: Process,
    port: Port,
    _home: Home,
}

impl PgBouncer {
    /// `settings`: lines of its section `[pgbouncer]`.
    pub async fn start(postgres: &Postgres, settings: &str) -> Result<PgBouncer> {
        let home = Home::new("pgbouncer")?;
        let port = Port::free()?;
        let path = home.join("pgbouncer.ini");
        let text = format!(
            "[databases]\n* = host=127.0.0.1 port={} user=postgres password={}\n\
             [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {}\nunix_socket_dir =\nauth_type = any\n\
             {settings}\n",
            postgres.port(),
            postgres.password(),
            port.number()
        );
        fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
        // It refuses to run as root.
        let server = Program::new("pgbouncer", "/usr/sbin/pgbouncer", home.path())
            .arg(&path)
            .user(User::Postgres)
            .stop_by(Signal::INT, Duration::from_secs(5))
            .start()
            .context("start the system package pgbouncer (scripts/setup installs it)")?;
        let bouncer = PgBouncer { _server: server, port, _home: home };
        wait_for("PgBouncer", Duration::from_secs(30), async || {
            tokio::net::TcpStream::connect(("127.0.0.1", bouncer.port.number())).await?;
            Ok(())
        })
        .await?;
        Ok(bouncer)
    }

    pub fn url_of(&self, postgres: &Postgres, database: &str) -> String {
        postgres.url_through([127, 0, 0, 1].into(), self.port.number(), database)
    }
}
