//! The settings of a connection to PostgreSQL. The error about a wrong setting names its key.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio_postgres::Config;
use tokio_postgres::config::SslMode;

use super::CONNECT_TIMEOUT;
use crate::error::{StoreError, describe};

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

pub(super) struct Parsed {
    pub config: Config,
    pub verify: bool,
    pub ca_file: Option<PathBuf>,
    pub password_key: &'static str,
}

pub(super) fn parse(settings: &Settings) -> Result<Parsed, StoreError> {
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

pub(super) fn read_password(file: &Path) -> Result<String, StoreError> {
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

pub(super) fn place(config: &Config) -> String {
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
