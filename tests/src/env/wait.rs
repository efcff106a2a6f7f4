//! Waiting for something to become true, with the last reason why it was not.

use std::future::Future;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// Asks every 50 ms until the answer is `Ok`; after `limit` the last error is returned, saying what was waited for.
pub async fn wait_for<T, F, Fut>(what: &str, limit: Duration, mut ask: F) -> Result<T>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T>>,
{
    let began = Instant::now();
    loop {
        match ask().await {
            Ok(value) => return Ok(value),
            Err(error) if began.elapsed() >= limit => {
                return Err(error).with_context(|| format!("waited {:.0} s for {what}", limit.as_secs_f64()));
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}
