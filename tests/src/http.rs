//! What a part says over HTTP: `/metrics`, `/status`, `/readyz`.

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Status code and body of `GET http://<address><path>`; `address` is `host:port`, with or without `http://`.
///
/// # Errors
/// When nothing answers, or not in HTTP.
pub async fn get(address: &str, path: &str) -> Result<(u16, String)> {
    let address = address.trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).await.with_context(|| format!("connect {address}"))?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let (head, body) = answer.split_once("\r\n\r\n").context("an HTTP answer")?;
    let code = head.split_whitespace().nth(1).context("a status line")?.parse()?;
    Ok((code, body.to_owned()))
}

/// The sum of a metric over its labels.
///
/// # Errors
/// When nothing answers.
pub async fn metric(address: &str, name: &str) -> Result<f64> {
    let (_, text) = get(address, "/metrics").await?;
    let values = text.lines().filter_map(|line| {
        let rest = line.strip_prefix(name)?;
        rest.starts_with([' ', '{']).then(|| rest.rsplit(' ').next()?.parse::<f64>().ok())?
    });
    Ok(values.sum())
}
