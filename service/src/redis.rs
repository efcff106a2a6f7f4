//! How Redis is reached: one shape, the password in a file.

use std::path::PathBuf;

use anyhow::Context as _;
use serde::Deserialize;

use crate::read_secret;

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RedisSettings {
    /// `redis://host:port/database` or `rediss://`.
    pub url: String,
    pub password_file: Option<PathBuf>,
}

impl RedisSettings {
    /// With the password.
    ///
    /// # Errors
    /// When it cannot be read, or the URL is none.
    pub fn full_url(&self) -> anyhow::Result<String> {
        let Some(file) = &self.password_file else { return Ok(self.url.clone()) };
        let password = read_secret("redis.password_file", file)?;
        let (scheme, rest) =
            self.url.split_once("://").context("redis.url: not of the form redis://host:port")?;
        let host = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
        let user = rest.rsplit_once('@').and_then(|(user, _)| user.split(':').next()).unwrap_or_default();
        // Percent-encoded, since anything may be in a password.
        let encoded: String = password.bytes().map(|byte| format!("%{byte:02X}")).collect();
        Ok(format!("{scheme}://{user}:{encoded}@{host}"))
    }
}
