//! Connects to PostgreSQL: TLS, dedicated sessions, a small pool for readers. An error names the role and the key of the settings to
//! check.

use std::future::poll_fn;
use std::ops::{Deref, DerefMut};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio_postgres::error::SqlState;
use tokio_postgres::{AsyncMessage, Client, Config, Connection, NoTls, SimpleQueryMessage};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::deleted_tasks::Known;
use crate::error::{StoreError, describe};
use crate::tls;

mod settings;

pub use settings::Settings;
use settings::{parse, place, read_password};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const POOL_MAX: usize = 8;
/// The server, too, finds out soon that our node is gone, and releases our locks: by itself after two hours. Over a unix
/// socket it passes over these settings.
const SESSION: &str = "set timezone = 'UTC'; set idle_in_transaction_session_timeout = '60s';
    set tcp_keepalives_idle = 10; set tcp_keepalives_interval = 5; set tcp_keepalives_count = 3;
    set tcp_user_timeout = 20000";
/// Told of each session when it begins. After a failover an address may for a moment lead to a server that is no primary any more.
const STANDING: &str = "select pg_is_in_recovery(), current_setting('transaction_read_only')";

/// A way to PostgreSQL. Cheap to clone; sessions are made when asked for.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    config: Config,
    tls: MakeRustlsConnect,
    at: String,
    password_key: &'static str,
    password_file: Option<PathBuf>,
    /// What each session is told when it begins.
    session: String,
    idle: Mutex<Vec<Client>>,
    tombstones: Known,
    /// It is a replica of this one.
    primary: Option<Store>,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Store({})", self.0.at)
    }
}

impl Store {
    /// Checks the settings without connecting.
    pub fn new(settings: &Settings) -> Result<Store, StoreError> {
        Store::told(settings, SESSION.to_owned())
    }

    /// [`Store::new`] for a program that asks on behalf of others: PostgreSQL ends every statement that takes longer, but where an operation says
    /// how long its own may take. (A role's setting would not do: it is not inherited by the logins that are its members.)
    ///
    /// # Errors
    /// Those of [`Store::new`].
    pub fn bounded(settings: &Settings, statement_ms_max: u32) -> Result<Store, StoreError> {
        Store::told(settings, format!("{SESSION}; set statement_timeout = {statement_ms_max}"))
    }

    fn told(settings: &Settings, session: String) -> Result<Store, StoreError> {
        let parsed = parse(settings)?;
        let tls = MakeRustlsConnect::new(tls::client_config(parsed.verify, parsed.ca_file.as_deref())?);
        Ok(Store(Arc::new(Inner {
            at: place(&parsed.config),
            config: parsed.config,
            tls,
            password_key: parsed.password_key,
            password_file: settings.password_file.clone(),
            session,
            idle: Mutex::new(Vec::new()),
            tombstones: Known::default(),
            primary: None,
        })))
    }

    /// [`Store::new`], and one session made to see that it works (kept for the first reader).
    pub async fn connect(settings: &Settings) -> Result<Store, StoreError> {
        let store = Store::new(settings)?;
        drop(store.pooled().await?);
        Ok(store)
    }

    /// The same as a replica of `primary`, which says what is deleted: a replica that is behind shows nothing of it. Nobody else has it yet.
    #[must_use]
    pub fn replica_of(self, primary: &Store) -> Store {
        let Ok(inner) = Arc::try_unwrap(self.0) else { return primary.clone() };
        Store(Arc::new(Inner { primary: Some(primary.clone()), ..inner }))
    }

    pub(crate) fn primary(&self) -> Option<&Store> {
        self.0.primary.as_ref()
    }

    pub(crate) fn tombstones(&self) -> &Known {
        &self.0.tombstones
    }

    /// `user@host:port/database`, for messages.
    pub fn at(&self) -> &str {
        &self.0.at
    }

    /// The error after a wait of this length: a server that takes bytes and never answers.
    pub fn no_answer(&self, waited: Duration) -> StoreError {
        let message = format!("no answer within {} s", waited.as_secs());
        StoreError::Connect { at: self.at().to_owned(), message, source: None }
    }

    /// The role that sessions log in as.
    pub fn user(&self) -> &str {
        self.0.config.get_user().unwrap_or_default()
    }

    /// A session of one's own, in UTC; it ends when the client is dropped.
    pub async fn client(&self, application: &str) -> Result<Client, StoreError> {
        self.session(application, |_| {}).await
    }

    /// The same, for who changes something.
    ///
    /// # Errors
    /// Also ([`StoreError::ReadOnly`]) when the server takes no writes: what stands there would look as if there were nothing to do.
    pub async fn writable(&self, application: &str) -> Result<Client, StoreError> {
        let Session { client, standing } = self.open(application, |_| {}).await?;
        standing.check(self)?;
        Ok(client)
    }

    /// [`Store::client`]; what the server says of itself is handed on.
    pub(crate) async fn session(
        &self,
        application: &str,
        told: impl FnMut(AsyncMessage) + Send + 'static,
    ) -> Result<Client, StoreError> {
        Ok(self.open(application, told).await?.client)
    }

    async fn open(
        &self,
        application: &str,
        told: impl FnMut(AsyncMessage) + Send + 'static,
    ) -> Result<Session, StoreError> {
        let mut config = self.0.config.clone();
        config.application_name(application);
        // Read for every session: a password may be changed while we run.
        if let Some(file) = &self.0.password_file {
            config.password(read_password(file)?);
        }
        // Over a unix socket there is no TLS, and no host name for rustls to make a connector of.
        let client = if self.is_unix() {
            let (client, connection) = self.within_patience(config.connect(NoTls)).await?;
            drive(connection, told);
            client
        } else {
            let (client, connection) = self.within_patience(config.connect(self.0.tls.clone())).await?;
            drive(connection, told);
            client
        };
        let answers = client
            .simple_query(&format!("{}; {STANDING}", self.0.session))
            .await
            .map_err(StoreError::sql("prepare session at", &self.0.at))?;
        let standing = answers.iter().find_map(|answer| match answer {
            SimpleQueryMessage::Row(row) => {
                Some(Standing { is_standby: row.get(0) == Some("t"), is_read_only: row.get(1) == Some("on") })
            }
            _ => None,
        });
        Ok(Session { client, standing: standing.unwrap_or_default() })
    }

    fn is_unix(&self) -> bool {
        matches!(self.0.config.get_hosts().first(), Some(tokio_postgres::config::Host::Unix(_)))
    }

    async fn within_patience<T>(
        &self,
        connect: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<T, StoreError> {
        tokio::time::timeout(CONNECT_TIMEOUT * 2, connect)
            .await
            .map_err(|_| self.refused("no answer within 10 s".to_owned(), None))?
            .map_err(|error| self.explain(error))
    }

    /// A session from the pool; goes back when dropped. Do not leave a transaction or a statement open in it: see
    /// [`Pooled::abandonable`].
    pub async fn pooled(&self) -> Result<Pooled, StoreError> {
        let idle = loop {
            let Ok(mut idle) = self.0.idle.lock() else { break None };
            match idle.pop() {
                Some(client) if client.is_closed() => {}
                other => break other,
            }
        };
        let (client, is_kept) = match idle {
            Some(client) => (client, true),
            None => {
                let Session { client, standing } = self.open("cordwood reader", |_| {}).await?;
                // Where the address leads to a primary that is none any more, it will soon lead to another one.
                (client, !standing.is_standby || self.0.primary.is_some())
            }
        };
        Ok(Pooled { client: Some(client), store: self.clone(), is_kept })
    }

    /// The next readers make sessions of their own: what the address led to before need not be what it leads to now.
    pub fn forget_idle(&self) {
        if let Ok(mut idle) = self.0.idle.lock() {
            idle.clear();
        }
    }

    fn give_back(&self, client: Client) {
        if let (false, Ok(mut idle)) = (client.is_closed(), self.0.idle.lock())
            && idle.len() < POOL_MAX
        {
            idle.push(client);
        }
    }

    fn refused(&self, message: String, source: Option<tokio_postgres::Error>) -> StoreError {
        StoreError::Connect { at: self.0.at.clone(), message, source }
    }

    fn explain(&self, error: tokio_postgres::Error) -> StoreError {
        let role = self.user();
        let key = self.0.password_key;
        let database = self.0.config.get_dbname().unwrap_or(role);
        let message = match error.code() {
            Some(code) if *code == SqlState::INVALID_PASSWORD => {
                format!("PostgreSQL refused the password of role \"{role}\": check {key}")
            }
            Some(code) if *code == SqlState::INVALID_AUTHORIZATION_SPECIFICATION => {
                format!(
                    "role \"{role}\" may not log in ({}): check database.user, or ALTER ROLE \"{role}\" LOGIN",
                    describe(&error)
                )
            }
            Some(code) if *code == SqlState::INSUFFICIENT_PRIVILEGE => {
                let text = error.as_db_error().map_or_else(|| describe(&error), |db| db.message().to_owned());
                format!(
                    "{text} (SQLSTATE 42501): as an administrator, GRANT CONNECT ON DATABASE \"{database}\" TO \"{role}\""
                )
            }
            Some(code) if *code == SqlState::INVALID_CATALOG_NAME => {
                format!("database \"{database}\" does not exist: create it or check database.database")
            }
            _ => {
                let text = describe(&error);
                if text.contains("password missing") {
                    format!("role \"{role}\" needs a password: set {key}")
                } else if text.contains("certificate") {
                    format!("{text}: check database.ca_file and database.sslmode")
                } else {
                    text
                }
            }
        };
        self.refused(message, Some(error))
    }
}

/// A session's connection lives in a task of its own.
fn drive<S, T>(mut connection: Connection<S, T>, mut told: impl FnMut(AsyncMessage) + Send + 'static)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    tokio::spawn(async move {
        while let Some(message) = poll_fn(|context| connection.poll_message(context)).await {
            match message {
                Ok(message) => told(message),
                Err(error) => {
                    tracing::debug!(error = %describe(&error), "PostgreSQL session ended");
                    return;
                }
            }
        }
    });
}

struct Session {
    client: Client,
    standing: Standing,
}

/// What a server is to its session.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Standing {
    pub is_standby: bool,
    pub is_read_only: bool,
}

impl Standing {
    pub fn check(self, store: &Store) -> Result<(), StoreError> {
        let why = match (self.is_standby, self.is_read_only) {
            (true, _) => "it is a standby",
            (false, true) => "default_transaction_read_only is on",
            (false, false) => return Ok(()),
        };
        Err(StoreError::ReadOnly { at: store.at().to_owned(), why })
    }
}

/// See [`Store::pooled`].
pub struct Pooled {
    client: Option<Client>,
    store: Store,
    is_kept: bool,
}

impl Deref for Pooled {
    type Target = Client;

    #[allow(clippy::expect_used)]
    fn deref(&self) -> &Client {
        self.client.as_ref().expect("a session is taken out only on drop")
    }
}

impl DerefMut for Pooled {
    #[allow(clippy::expect_used)]
    fn deref_mut(&mut self) -> &mut Client {
        self.client.as_mut().expect("a session is taken out only on drop")
    }
}

impl Drop for Pooled {
    fn drop(&mut self) {
        if let (Some(client), true) = (self.client.take(), self.is_kept) {
            self.store.give_back(client);
        }
    }
}

impl Pooled {
    /// For statements that may be given up halfway, because a caller's patience ends: such a session does not go back to
    /// the pool, and the server is told to stop.
    pub fn abandonable(mut self) -> Abandonable {
        Abandonable { client: self.client.take(), store: self.store.clone(), is_kept: self.is_kept }
    }
}

/// See [`Pooled::abandonable`]. Goes back to the pool by [`Abandonable::finish`] alone.
pub struct Abandonable {
    client: Option<Client>,
    store: Store,
    is_kept: bool,
}

impl Abandonable {
    pub fn finish(mut self) {
        if let (Some(client), true) = (self.client.take(), self.is_kept) {
            self.store.give_back(client);
        }
    }
}

impl Deref for Abandonable {
    type Target = Client;

    #[allow(clippy::expect_used)]
    fn deref(&self) -> &Client {
        self.client.as_ref().expect("a session is taken out only at its end")
    }
}

impl DerefMut for Abandonable {
    #[allow(clippy::expect_used)]
    fn deref_mut(&mut self) -> &mut Client {
        self.client.as_mut().expect("a session is taken out only at its end")
    }
}

impl Drop for Abandonable {
    fn drop(&mut self) {
        let (Some(client), Ok(runtime)) = (self.client.take(), tokio::runtime::Handle::try_current()) else {
            return;
        };
        let (cancel, tls, unix) = (client.cancel_token(), self.store.0.tls.clone(), self.store.is_unix());
        runtime.spawn(async move {
            let cancel = async {
                if unix { cancel.cancel_query(NoTls).await } else { cancel.cancel_query(tls).await }
            };
            // As far as it goes: the server may be what does not answer.
            let _ = tokio::time::timeout(CONNECT_TIMEOUT, cancel).await;
        });
    }
}
