//! How PostgreSQL is reached: settings, TLS, dedicated sessions, a small pool for readers. An error says which role and
//! which key of the settings to look at.

use std::future::poll_fn;
use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_postgres::config::SslMode;
use tokio_postgres::error::SqlState;
use tokio_postgres::{AsyncMessage, Client, Config, Connection, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::deleted_tasks::Known;
use crate::error::{StoreError, describe};
use crate::tls;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const POOL_MAX: usize = 8;
/// The server, too, finds out soon that our node is gone, and lets go of our locks: by itself after two hours. Over a unix
/// socket it passes over these settings.
const SESSION: &str = "set timezone = 'UTC'; set idle_in_transaction_session_timeout = '60s';
    set tcp_keepalives_idle = 10; set tcp_keepalives_interval = 5; set tcp_keepalives_count = 3;
    set tcp_user_timeout = 20000";

/// Either `url` (`postgresql://user@host:port/database?sslmode=verify-full&sslrootcert=FILE`) or the parts. The
/// environment's `CORDWOOD_DATABASE_URL` takes the place of a missing url. A password belongs into a file or into the url
/// of the environment; one in the configuration's own url is there to be read.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    #[serde(skip_serializing)]
    pub url: Option<String>,
    /// A host name, an address, or the folder of a unix socket.
    pub host: Option<String>,
    pub port: Option<u16>,
    pub database: Option<String>,
    pub user: Option<String>,
    pub password_file: Option<PathBuf>,
    /// `disable`, `prefer` (default), `require` or `verify-full`.
    pub sslmode: Option<String>,
    /// PEM file of the CAs to trust; with it `require` verifies too.
    pub ca_file: Option<PathBuf>,
}

impl std::fmt::Debug for Settings {
    /// Without the url, which may hold a password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Settings { url, host, port, database, user, password_file, sslmode, ca_file } = self;
        f.debug_struct("Settings")
            .field("url", &url.as_ref().map(|_| "..."))
            .field("host", host)
            .field("port", port)
            .field("database", database)
            .field("user", user)
            .field("password_file", password_file)
            .field("sslmode", sslmode)
            .field("ca_file", ca_file)
            .finish()
    }
}

impl Settings {
    pub fn url(url: impl Into<String>) -> Settings {
        Settings { url: Some(url.into()), ..Settings::default() }
    }

    /// Fills a missing url (and host) from `CORDWOOD_DATABASE_URL`.
    #[must_use]
    pub fn or_environment(self) -> Settings {
        self.or_variable("CORDWOOD_DATABASE_URL")
    }

    /// Fills a missing url (and host) from a variable of the environment.
    #[must_use]
    pub fn or_variable(mut self, name: &str) -> Settings {
        if self.url.is_none() && self.host.is_none() {
            self.url = std::env::var(name).ok().filter(|url| !url.is_empty());
        }
        self
    }
}

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

    /// [`Store::new`] for whoever asks on behalf of others: PostgreSQL ends every statement that takes longer, but where an operation says
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
        let client = store.client("cordwood").await?;
        store.give_back(client);
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

    /// The error of whoever waited so long: a server that takes bytes and never answers.
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

    /// The same; what the server says of itself is handed on.
    pub(crate) async fn session(
        &self,
        application: &str,
        told: impl FnMut(AsyncMessage) + Send + 'static,
    ) -> Result<Client, StoreError> {
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
        client
            .batch_execute(&self.0.session)
            .await
            .map_err(StoreError::sql("prepare session at", &self.0.at))?;
        Ok(client)
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
        let client = match idle {
            Some(client) => client,
            None => self.client("cordwood reader").await?,
        };
        Ok(Pooled { client: Some(client), store: self.clone() })
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
                format!("role \"{role}\" may not log in ({}): check database.user", describe(&error))
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

/// See [`Store::pooled`].
pub struct Pooled {
    client: Option<Client>,
    store: Store,
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
        if let Some(client) = self.client.take() {
            self.store.give_back(client);
        }
    }
}

impl Pooled {
    /// For statements that may be given up halfway, because a caller's patience ends: such a session does not go back to
    /// the pool, and the server is told to stop.
    pub fn abandonable(mut self) -> Abandonable {
        Abandonable { client: self.client.take(), store: self.store.clone() }
    }
}

/// See [`Pooled::abandonable`]. Goes back to the pool by [`Abandonable::finish`] alone.
pub struct Abandonable {
    client: Option<Client>,
    store: Store,
}

impl Abandonable {
    pub fn finish(mut self) {
        if let Some(client) = self.client.take() {
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

struct Parsed {
    config: Config,
    verify: bool,
    ca_file: Option<PathBuf>,
    password_key: &'static str,
}

fn parse(settings: &Settings) -> Result<Parsed, StoreError> {
    let fail = |key, message: String| StoreError::Settings { key, message };
    let mut sslmode = settings.sslmode.clone();
    let mut ca_file = settings.ca_file.clone();
    let mut config = match &settings.url {
        Some(url) => {
            let url = take_parameter(url, "sslrootcert", |value| ca_file = Some(PathBuf::from(value)));
            let url = take_parameter(&url, "sslmode", |value| sslmode = Some(value.to_owned()));
            Config::from_str(&url).map_err(|error| fail("url", describe(&error)))?
        }
        None => Config::new(),
    };
    if let Some(host) = &settings.host {
        config.host(host);
    }
    if let Some(port) = settings.port {
        config.port(port);
    }
    if let Some(database) = &settings.database {
        config.dbname(database);
    }
    if let Some(user) = &settings.user {
        config.user(user);
    }
    if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
        let message = "none given: set database.url, database.host or CORDWOOD_DATABASE_URL".to_owned();
        return Err(fail("host", message));
    }
    if config.get_user().is_none() {
        return Err(fail("user", "none given: set database.user or name one in database.url".to_owned()));
    }
    let mut password_key = "database.url (or CORDWOOD_DATABASE_URL)";
    if let Some(file) = &settings.password_file {
        password_key = "database.password_file";
        config.password(read_password(file)?);
    } else if config.get_password().is_none() {
        password_key = "database.password_file";
    }
    let (mode, verify) = match sslmode.as_deref() {
        Some("disable") => (SslMode::Disable, false),
        None | Some("prefer" | "allow") => (SslMode::Prefer, false),
        Some("require") => (SslMode::Require, false),
        Some("verify-full") => (SslMode::Require, true),
        Some(other) => {
            let message = format!("{other:?} is none of disable, prefer, require, verify-full");
            return Err(fail("sslmode", message));
        }
    };
    config.ssl_mode(mode).connect_timeout(CONNECT_TIMEOUT).keepalives_idle(Duration::from_secs(30));
    if config.get_tcp_user_timeout().is_none() {
        config.tcp_user_timeout(Duration::from_secs(30));
    }
    Ok(Parsed { config, verify, ca_file, password_key })
}

fn read_password(file: &Path) -> Result<String, StoreError> {
    let password = std::fs::read_to_string(file).map_err(|error| StoreError::Settings {
        key: "password_file",
        message: format!("read {}: {error}", file.display()),
    })?;
    Ok(password.trim_end_matches(['\n', '\r']).to_owned())
}

/// Takes `name=value` out of a URL's query (or a key-value string): the two parameters that our TLS reads itself.
fn take_parameter(url: &str, name: &str, mut found: impl FnMut(&str)) -> String {
    let is_url = url.contains("://");
    let (separators, head, tail): (&[char], &str, &str) = match (is_url, url.split_once('?')) {
        (true, Some((head, query))) => (&['&'], head, query),
        (true, None) => return url.to_owned(),
        (false, _) => (&[' '], "", url),
    };
    let mut kept = Vec::new();
    for part in tail.split(separators) {
        match part.split_once('=') {
            Some((key, value)) if key == name && is_url => found(&percent_decoded(value)),
            Some((key, value)) if key == name => found(value),
            _ => kept.push(part),
        }
    }
    match (is_url, kept.is_empty()) {
        (true, true) => head.to_owned(),
        (true, false) => format!("{head}?{}", kept.join("&")),
        (false, _) => kept.join(" "),
    }
}

fn percent_decoded(value: &str) -> String {
    let bytes = value.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let code = value.get(at + 1..at + 3).filter(|_| bytes[at] == b'%');
        match code.and_then(|code| u8::from_str_radix(code, 16).ok()) {
            Some(byte) => {
                decoded.push(byte);
                at += 3;
            }
            None => {
                decoded.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

fn place(config: &Config) -> String {
    use tokio_postgres::config::Host;
    let host = match config.get_hosts().first() {
        Some(Host::Tcp(host)) => host.clone(),
        Some(Host::Unix(path)) => path.display().to_string(),
        None => config.get_hostaddrs().first().map(ToString::to_string).unwrap_or_default(),
    };
    let port = config.get_ports().first().copied().unwrap_or(5432);
    let user = config.get_user().unwrap_or_default();
    format!("{user}@{host}:{port}/{}", config.get_dbname().unwrap_or(user))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_url_s_own_tls_parameters_are_ours() {
        let settings = Settings::url(
            "postgresql://u:p@h:5/d?sslmode=verify-full&application_name=x&sslrootcert=%2Fmy%20ca%25%zz.pem",
        );
        assert!(!format!("{settings:?}").contains("u:p"));
        let parsed = parse(&settings).unwrap();
        assert!(parsed.verify);
        assert_eq!(parsed.ca_file, Some(PathBuf::from("/my ca%%zz.pem")));
        assert_eq!(place(&parsed.config), "u@h:5/d");
    }

    #[test]
    fn mistakes_name_their_key() {
        for (settings, key) in [
            (Settings::default(), "host"),
            (Settings { host: Some("h".into()), ..Settings::default() }, "user"),
            (Settings::url("postgresql://u@h/d?sslmode=maybe"), "sslmode"),
            (Settings::url("postgresql://u@h:port/d"), "url"),
            (
                Settings {
                    password_file: Some("/nonexistent/pw".into()),
                    ..Settings::url("postgresql://u@h/d")
                },
                "password_file",
            ),
        ] {
            match parse(&settings) {
                Err(StoreError::Settings { key: found, .. }) => assert_eq!(found, key),
                _ => panic!("{settings:?} was taken"),
            }
        }
    }
}
