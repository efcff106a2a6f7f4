//! Chooses the PostgreSQL of a command: the one that was named, or the data folder's own, which runs for as long as the command needs it.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context;
use cordwood_service::Failure;
use cordwood_store::connect::{Settings, Store};
use cordwood_store::migrate;

use crate::args::DatabaseArgs;
use crate::embedded_postgres::{Embedded, EmbeddedError, default_data_dir};

/// For an embedded server to answer.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub struct Database {
    pub store: Store,
    /// Set when it is the data folder's own; keeps it running.
    embedded: Option<Embedded>,
}

impl DatabaseArgs {
    pub fn data_dir(&self) -> PathBuf {
        self.data_dir.clone().unwrap_or_else(default_data_dir)
    }
}

impl Database {
    /// Connects. `create`: make a data folder when there is none (standalone); others say how to get one.
    ///
    /// # Errors
    /// One line that names what to change.
    pub async fn open(args: &DatabaseArgs, create: bool) -> Result<Database, Failure> {
        if let Some(url) = &args.database_url {
            let store = connect(url).await?;
            if !create {
                migrate::check(&store).await.map_err(|error| Failure::Run(error.into()))?;
            }
            return Ok(Database { store, embedded: None });
        }
        let data_dir = args.data_dir();
        let embedded = tokio::task::spawn_blocking(move || Embedded::start(&data_dir, create))
            .await
            .context("start PostgreSQL")?
            .map_err(embedded_failure)?;
        // It may still be recovering from a crash, or the machine is busy.
        let deadline = Instant::now() + PATIENCE;
        let store = loop {
            match connect(embedded.url()).await {
                Err(Failure::Run(error)) if Instant::now() < deadline => {
                    tracing::info!(%error, "PostgreSQL does not answer yet");
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
                result => break result?,
            }
        };
        let database = Database { store, embedded: Some(embedded) };
        if !create {
            migrate::check(&database.store).await.map_err(|error| Failure::Run(error.into()))?;
        }
        Ok(database)
    }

    pub fn is_embedded(&self) -> bool {
        self.embedded.is_some()
    }

    /// Starts an embedded server again that has ended by itself; the parts' own retries do the rest.
    pub async fn ensure_running(&self) {
        if let Some(embedded) = &self.embedded {
            let result = tokio::task::block_in_place(|| embedded.ensure_running());
            if let Err(error) = result {
                tracing::error!(%error, "PostgreSQL is down and does not start again");
            }
        }
    }

    /// How to look with SQL, where we can say it without showing a password.
    pub fn psql_hint(&self) -> Option<String> {
        self.embedded.as_ref().map(Embedded::psql_hint)
    }

    /// Releases it. If nobody else uses an embedded server, waits until the server is down.
    pub async fn close(self) {
        let Database { store, embedded } = self;
        drop(store);
        if let Some(embedded) = embedded {
            let _ = tokio::task::spawn_blocking(move || embedded.stop()).await;
        }
    }
}

async fn connect(url: &str) -> Result<Store, Failure> {
    let settings = Settings::url(url);
    // What is wrong with the text is the caller's mistake; what the server says is not.
    Store::new(&settings).map_err(|error| Failure::Config(error.into()))?;
    Store::connect(&settings).await.map_err(|error| Failure::Run(error.into()))
}

fn embedded_failure(error: EmbeddedError) -> Failure {
    match error {
        EmbeddedError::NoFolder { .. } => Failure::Config(
            anyhow::Error::new(error)
                .context("no database: give --database-url, --data-dir or CORDWOOD_DATABASE_URL"),
        ),
        EmbeddedError::NoBinaries { .. }
        | EmbeddedError::OtherVersion { .. }
        | EmbeddedError::NoUser
        | EmbeddedError::Unreachable { .. } => Failure::Config(error.into()),
        error => Failure::Run(error.into()),
    }
}
