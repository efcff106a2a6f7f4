//! Connects to Redis: one form of settings; password and CAs come from files.

use std::path::PathBuf;

use anyhow::{Context as _, ensure};
use serde::Deserialize;

use crate::read_secret;

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RedisSettings {
    /// `redis://host:port/database` or `rediss://`.
    pub url: String,
    pub password_file: Option<PathBuf>,
    /// PEM: the CAs to trust, in place of the system's.
    pub ca_file: Option<PathBuf>,
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

    /// The CAs to trust, as PEM; `None`: the system's.
    ///
    /// # Errors
    /// When they cannot be read, or nothing is encrypted.
    pub fn ca(&self) -> anyhow::Result<Option<Vec<u8>>> {
        let Some(file) = &self.ca_file else { return Ok(None) };
        let is_encrypted = self.url.starts_with("rediss://");
        ensure!(is_encrypted, "redis.ca_file: the url is none of rediss://, so that nothing is encrypted");
        let pem = std::fs::read(file).with_context(|| format!("redis.ca_file: read {}", file.display()))?;
        let holds = pem.windows(PEM.len()).any(|bytes| bytes == PEM);
        ensure!(holds, "redis.ca_file: {} holds no certificate", file.display());
        Ok(Some(pem))
    }
}

const PEM: &[u8] = b"-----BEGIN CERTIFICATE-----";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cas_are_for_what_is_encrypted() {
        let here = std::env::current_exe().unwrap();
        let ca = |url: &str, file: &std::path::Path| {
            let ca_file = Some(file.to_owned());
            let told = RedisSettings { url: url.to_owned(), password_file: None, ca_file }.ca();
            format!("{:#}", told.unwrap_err())
        };
        assert!(ca("redis://h:6379", &here).contains("rediss://"));
        assert!(ca("rediss://h:6379", std::path::Path::new("/none/ca.crt")).contains("/none/ca.crt"));
        let empty = std::env::temp_dir().join(format!("cordwood-no-ca-{}", std::process::id()));
        std::fs::write(&empty, "nothing").unwrap();
        let told = ca("rediss://h:6379", &empty);
        std::fs::remove_file(&empty).unwrap();
        assert!(told.contains("no certificate"), "{told}");
        let none = RedisSettings { url: "rediss://h:6379".to_owned(), password_file: None, ca_file: None };
        assert_eq!(none.ca().unwrap(), None);
    }
}
