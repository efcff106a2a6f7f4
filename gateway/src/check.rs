//! `--check-config`: checks the configuration file, and the files that it names if they exist here. It connects to nothing, because the API
//! server, PostgreSQL and the identity provider are reached from where the gateway runs, not from where its file is checked.

use std::path::Path;

use anyhow::{Context as _, Result};
use cordwood_store::Store;

use crate::access::cluster::Cluster;
use crate::access::oidc::Oidc;
use crate::access::sessions::seals::Seals;
use crate::access::tokens::Tokens;
use crate::config::Config;
use crate::live;

/// What could not be checked, each with its key.
///
/// # Errors
/// What is wrong.
pub async fn check(config: &Config) -> Result<Vec<String>> {
    let mut unchecked = Vec::new();
    let mut is_here = |key: &str, file: Option<&Path>| match file {
        Some(file) if !file.exists() => {
            unchecked.push(format!("{key}: there is no {} here", file.display()));
            false
        }
        Some(_) => true,
        None => false,
    };
    if is_here("tokens_file", config.tokens_file.as_deref())
        && let Some(file) = &config.tokens_file
    {
        Tokens::read(file)?;
    }
    if is_here("access.session_key_file", config.access.session_key_file.as_deref())
        && let Some(file) = &config.access.session_key_file
    {
        Seals::read(file)?;
    }
    if let Some(oidc) = &config.access.oidc {
        let secret = oidc.browser.as_ref().and_then(|browser| browser.client_secret_file.as_deref());
        let ca = oidc.ca_file.as_deref();
        let are_here = [("access.oidc.ca_file", ca), ("access.oidc.browser.client_secret_file", secret)]
            .map(|(key, file)| file.is_none() || is_here(key, file));
        if are_here == [true, true] {
            Oidc::new(oidc)?;
        }
    }
    is_here("administration.operator_token_file", config.administration.operator_token_file.as_deref());
    if let Some(redis) = &config.redis {
        let files = [("redis.password_file", &redis.password_file), ("redis.ca_file", &redis.ca_file)];
        let are_here = files.map(|(key, file)| file.is_none() || is_here(key, file.as_deref()));
        if are_here == [true, true] {
            live::redis_client(redis)?;
        }
    }
    if let Some(kubernetes) = &config.access.kubernetes {
        if is_here("access.kubernetes.kubeconfig_file", kubernetes.kubeconfig_file.as_deref()) {
            Cluster::new(kubernetes).await?;
        } else if kubernetes.kubeconfig_file.is_none() {
            unchecked.push("access.kubernetes: the API server is found where the gateway runs".to_owned());
        }
    }
    if let Some(replica) = &config.replica {
        Store::new(&replica.database).context("replica")?;
    }
    Ok(unchecked)
}
