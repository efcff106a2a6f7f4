//! Wakes the hub by the writers' feed in Redis, to which they publish with every commit. The records come from PostgreSQL, so that nothing is
//! missing that Redis has forgotten or never got.

use std::time::Duration;

use anyhow::Context as _;
use cordwood_service::RedisSettings;
use futures::StreamExt as _;
use redis::{Client, RedisResult, TlsCertificates};

use super::hub::Hub;

/// Of any tenant.
const CHANNELS: &str = "cordwood:wake:*";
const RETRY: Duration = Duration::from_secs(1);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// # Errors
/// When the settings are wrong. Redis need not be there.
pub fn client(settings: &RedisSettings) -> anyhow::Result<Client> {
    let (url, ca) = (settings.full_url()?, settings.ca()?);
    let client = match ca {
        None => Client::open(url),
        ca => Client::build_with_tls(url, TlsCertificates { client_tls: None, root_cert: ca }),
    };
    client.context("redis.url")
}

/// Ends with its caller.
pub async fn wake(client: &Client, hub: &Hub) {
    loop {
        if let Err(error) = listen(client, hub).await {
            tracing::debug!(%error, "Redis tells of no commits");
        }
        if hub.set_redis(false) {
            tracing::warn!("Redis is unavailable: live streams learn of commits from PostgreSQL");
        }
        tokio::time::sleep(RETRY).await;
    }
}

/// Until the connection ends.
async fn listen(client: &Client, hub: &Hub) -> RedisResult<()> {
    let connect = async {
        let mut subscribed = client.get_async_pubsub().await?;
        subscribed.psubscribe(CHANNELS).await?;
        Ok(subscribed)
    };
    let no_answer =
        || Err(redis::RedisError::from((redis::ErrorKind::Io, "no answer from Redis within 5 s")));
    let subscribed = tokio::time::timeout(CONNECT_TIMEOUT, connect).await.unwrap_or_else(|_| no_answer())?;
    hub.set_redis(true);
    let mut told = subscribed.into_on_message();
    while told.next().await.is_some() {
        hub.wake();
    }
    Ok(())
}
