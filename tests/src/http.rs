//! Asks a part over HTTP: `/metrics`, `/status`, `/readyz`.

use std::collections::BTreeMap;

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

/// What a server answered.
#[derive(Clone, Debug)]
pub struct Answer {
    pub code: u16,
    /// Names in lower case; values of one name stand in lines.
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// # Errors
    /// When the body is no JSON.
    pub fn json(&self) -> Result<serde_json::Value> {
        serde_json::from_slice(&self.body).with_context(|| self.text())
    }
}

/// A whole answer, with headers of one's own. HTTP/1.0: the body ends with the connection.
///
/// # Errors
/// When nothing answers, or not in HTTP.
pub async fn ask(address: &str, method: &str, path: &str, headers: &[(&str, &str)]) -> Result<Answer> {
    answer_on(open(address, method, path, headers).await?).await
}

async fn answer_on(mut stream: TcpStream) -> Result<Answer> {
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").context("an HTTP answer")?;
    let head = String::from_utf8(answer[..end].to_vec())?;
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.split_whitespace().nth(1));
    let code = status.context("a status line")?.parse()?;
    let mut headers: BTreeMap<String, String> = BTreeMap::new();
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        let values = headers.entry(name.to_ascii_lowercase()).or_default();
        let apart = if values.is_empty() { "" } else { "\n" };
        values.push_str(&format!("{apart}{}", value.trim()));
    }
    Ok(Answer { code, headers, body: answer.split_off(end + 4) })
}

/// The same with a body of JSON.
///
/// # Errors
/// When nothing answers, or not in HTTP.
pub async fn send(
    address: &str,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Result<Answer> {
    let length = body.len().to_string();
    let mut all = vec![("Content-Type", "application/json"), ("Content-Length", length.as_str())];
    all.extend(headers);
    let mut stream = open(address, method, path, &all).await?;
    stream.write_all(body.as_bytes()).await?;
    answer_on(stream).await
}

/// A connection on which a request was sent, for a client that reads slowly or leaves.
///
/// # Errors
/// When nothing listens.
pub async fn open(address: &str, method: &str, path: &str, headers: &[(&str, &str)]) -> Result<TcpStream> {
    let mut stream = TcpStream::connect(address).await.with_context(|| format!("connect {address}"))?;
    let mut request = format!("{method} {path} HTTP/1.0\r\n");
    if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
        request.push_str(&format!("Host: {address}\r\n"));
    }
    for (name, value) in headers {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    request.push_str("\r\n");
    stream.write_all(request.as_bytes()).await?;
    Ok(stream)
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
    // (An empty sum of floats is -0.)
    Ok(values.sum::<f64>() + 0.0)
}
