//! The same, by the connection and the token: one connection for two, what is no good HTTP, bent tokens; and by what an announcement of a task and
//! a deletion answer.

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cordwood_tests::http::ask;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::adversary::{Attack, SECRET, refused};
use super::adversary_sideways::{get, same};

async fn raw(attack: &Attack, text: &str) -> Result<String> {
    let mut stream = TcpStream::connect(&attack.world.address).await?;
    stream.write_all(text.as_bytes()).await?;
    let mut answer = Vec::new();
    // (One that is cut off was refused.)
    let _ = stream.read_to_end(&mut answer).await;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// Who asked first on a connection is not who asks next; what is no good HTTP is not half understood.
pub(super) async fn connections_that_carry_more_than_one(attack: &Attack) -> Result<()> {
    let address = &attack.world.address;
    let bearer = |token: &str| format!("Authorization: Bearer {token}\r\n");
    let get = |path: &str, more: &str| format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n{more}\r\n");
    let (own, theirs) = (bearer(&attack.reader), bearer(&attack.other));
    let close = "Connection: close\r\n";
    let bank = "/api/platform/logs?namespace=bank";
    let pipelined = raw(attack, &[get(bank, &theirs), get(bank, close)].concat()).await?;
    let (first, second) = pipelined.rsplit_once("HTTP/1.1 ").context("one answer")?;
    ensure!(first.contains(SECRET) && second.starts_with("401") && !second.contains(SECRET), "{second}");
    let pipelined = raw(attack, &[get(bank, &theirs), get(bank, &format!("{own}{close}"))].concat()).await?;
    let second = pipelined.rsplit_once("HTTP/1.1 ").context("one answer")?.1;
    ensure!(second.starts_with("200") && !second.contains(SECRET), "{second}");
    let hidden = get(bank, &format!("{theirs}{close}"));
    let length = hidden.len();
    for (what, text) in [
        (
            "two lengths",
            format!(
                "POST /api/ticket HTTP/1.1\r\nHost: {address}\r\n{own}Content-Length: 0\r\nContent-Length: {length}\r\n{close}\r\n"
            ),
        ),
        (
            "length and chunks",
            format!(
                "POST /api/ticket HTTP/1.1\r\nHost: {address}\r\n{own}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n{close}\r\n0\r\n\r\n"
            ),
        ),
        (
            "a blank before the colon",
            format!(
                "GET {bank} HTTP/1.1\r\nHost: {address}\r\nAuthorization : Bearer {}\r\n{close}\r\n",
                attack.reader
            ),
        ),
        ("a folded header", format!("GET {bank} HTTP/1.1\r\nHost: {address}\r\nX: y\r\n {own}{close}\r\n")),
        (
            "the absolute form",
            format!("GET http://localhost{bank} HTTP/1.1\r\nHost: {address}\r\n{own}{close}\r\n"),
        ),
        (
            "another's absolute form",
            format!("GET http://quince.example{bank} HTTP/1.1\r\nHost: {address}\r\n{own}{close}\r\n"),
        ),
        ("CONNECT", format!("CONNECT 127.0.0.1:5432 HTTP/1.1\r\nHost: {address}\r\n{own}{close}\r\n")),
        ("TRACE", format!("TRACE {bank} HTTP/1.1\r\nHost: {address}\r\n{own}{close}\r\n")),
        ("OPTIONS *", format!("OPTIONS * HTTP/1.1\r\nHost: {address}\r\n{own}{close}\r\n")),
        (
            "a preflight",
            format!(
                "OPTIONS {bank} HTTP/1.1\r\nHost: {address}\r\nOrigin: https://evil.example\r\nAccess-Control-Request-Method: GET\r\n{close}\r\n"
            ),
        ),
        ("HTTP/0.9", format!("GET {bank}\r\n\r\n")),
        ("HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\u{4}\0\0\0\0\0".to_owned()),
        (
            "a long header",
            format!(
                "GET {bank} HTTP/1.1\r\nHost: {address}\r\nX: {}\r\n{own}{close}\r\n",
                "x".repeat(1 << 20)
            ),
        ),
        (
            "a path beside",
            format!(
                "GET /api/platform/logs/../../admin/agents HTTP/1.1\r\nHost: {address}\r\n{own}{close}\r\n"
            ),
        ),
        (
            "a doubled slash",
            format!(
                "GET //api//platform//logs?namespace=bank HTTP/1.1\r\nHost: {address}\r\n{own}{close}\r\n"
            ),
        ),
        (
            "an encoded slash",
            format!(
                "GET /api%2fplatform%2flogs?namespace=bank HTTP/1.1\r\nHost: {address}\r\n{own}{close}\r\n"
            ),
        ),
        (
            "a fragment",
            format!("GET /api/platform/logs#{bank} HTTP/1.1\r\nHost: {address}\r\n{own}{close}\r\n"),
        ),
    ] {
        let answer = raw(attack, &text).await?;
        let text = answer.replace("quince.example", "").replace("quince-tenant", "");
        ensure!(!text.contains(SECRET), "{what}: {answer}");
        ensure!(!text.contains(&attack.reader), "{what} is told the token: {answer}");
        ensure!(!text.to_ascii_lowercase().contains("access-control-allow-origin"), "{what}: {answer}");
        ensure!(!answer.starts_with("HTTP/1.1 5") || answer.starts_with("HTTP/1.1 501"), "{what}: {answer}");
    }
    // Nothing of an answer is kept for the next one.
    for path in [
        bank,
        "/api/platform/logs",
        "/api/platform/logs/facets",
        "/api/whoami",
        "/api/platform/logs/aggregates",
    ] {
        let headers = [
            ("If-None-Match", "*"),
            ("If-Modified-Since", "Thu, 01 Jan 2099 00:00:00 GMT"),
            ("If-Range", "*"),
        ];
        let answer = attack.with(&attack.reader, "GET", path, &headers).await?;
        let kept = answer.headers.get("cache-control").map_or("", String::as_str);
        ensure!(answer.code == 200 && !answer.headers.contains_key("etag"), "{path}: {answer:?}");
        ensure!(
            kept.contains("no-store") || kept.contains("private") || kept.contains("no-cache"),
            "{path}: {:?}",
            answer.headers
        );
    }
    Ok(())
}

/// Changed, cut, without a signature, for somebody else, in another place of the header.
pub(super) async fn tokens_that_were_bent(attack: &Attack) -> Result<()> {
    let parts: Vec<&str> = attack.reader.split('.').collect();
    let [head, claims, signature] = parts[..] else { anyhow::bail!("no token") };
    let mut said: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims)?)?;
    said["sub"] = json!("system:serviceaccount:people:other");
    said["kubernetes.io"]["serviceaccount"]["name"] = json!("other");
    let bent = URL_SAFE_NO_PAD.encode(said.to_string());
    let header = |text: &str| URL_SAFE_NO_PAD.encode(text);
    let none = header(r#"{"alg":"none","typ":"JWT"}"#);
    let path = header(r#"{"alg":"HS256","kid":"../../../../dev/null","typ":"JWT"}"#);
    let place = header(r#"{"alg":"RS256","jku":"http://127.0.0.1:1/keys","typ":"JWT"}"#);
    let theirs: Vec<&str> = attack.other.split('.').collect();
    let for_others = attack.cluster.token("other", "somebody-else").await?;
    let for_api_server = attack.cluster.token("other", "").await?;
    let basic = base64::engine::general_purpose::STANDARD.encode(format!("x:{}", attack.other));
    for (number, authorization) in [
        format!("Bearer {head}.{bent}.{signature}"),
        format!("Bearer {none}.{bent}."),
        format!("Bearer {none}.{}.", theirs[1]),
        format!("Bearer {path}.{}.{signature}", theirs[1]),
        format!("Bearer {place}.{}.{signature}", theirs[1]),
        format!("Bearer {head}.{}.{signature}", theirs[1]),
        format!("Bearer {head}.{claims}"),
        format!("Bearer {head}.{claims}."),
        format!("Bearer {}x", attack.reader),
        format!("Bearer {}", attack.reader.to_uppercase()),
        format!("Bearer {},{}", attack.reader, attack.other),
        format!("Bearer {} {}", attack.reader, attack.other),
        format!("Basic {basic}"),
        format!("Token {}", attack.other),
        format!("Bearer: {}", attack.other),
        format!("Bearer\t{}", attack.other),
        format!("Bearer \"{}\"", attack.other),
        format!("Bearer {for_others}"),
        format!("Bearer {for_api_server}"),
        "Bearer".to_owned(),
        "Bearer null".to_owned(),
        format!("Bearer {}", "x".repeat(100_000)),
    ]
    .into_iter()
    .enumerate()
    {
        let headers = [("Authorization", authorization.as_str()), ("X-Request-Id", "test")];
        let answer = ask(&attack.world.address, "GET", "/api/platform/logs?namespace=bank", &headers).await?;
        let what = format!("token {number}");
        refused(&what, &answer, &[400, 401, 431])?;
    }
    Ok(())
}

/// What is answered to a task's name says nothing of tasks and tenants that are not seen.
pub(super) async fn deletions_and_announcements(attack: &Attack) -> Result<()> {
    let keeper = async |method: &str, path: &str| {
        attack.with(&attack.keeper, method, &format!("/api/tasks/{path}"), &[]).await
    };
    // In a namespace that was created again: who had records in the one before it is not told.
    let had = keeper("PUT", "probe?namespace=den&tenant=quince-tenant").await?;
    let never = keeper("PUT", "probe?namespace=den&tenant=nobody").await?;
    refused("a tenant of before", &had, &[404])?;
    same("a tenant of before", &had, &never)?;
    for tenant in [
        "QUINCE-TENANT",
        "quince-tenant%20",
        "%EF%BD%91uince-tenant",
        "",
        "*",
        "acme%00",
        "acme,quince-tenant",
    ] {
        let answer = keeper("PUT", &format!("probe?namespace=shop&tenant={tenant}")).await?;
        refused(tenant, &answer, &[400, 404])?;
    }
    // A task that was announced is found before its first line, without its namespace, by those who see the namespace.
    let announced = keeper("PUT", "early?namespace=den").await?;
    ensure!(announced.code == 201, "{}", announced.text());
    for path in ["early/logs", "early/logs/stats", "early/logs/sources"] {
        let answer = keeper("GET", path).await?;
        ensure!(answer.code == 200, "{path}: {}", answer.text());
        let (there, absent) =
            (get(attack, &format!("/api/tasks/{path}")).await?, get(attack, "/api/tasks/never/logs").await?);
        refused(path, &there, &[404])?;
        same(path, &there, &absent)?;
    }
    // Deletions by a name that two have take one's own.
    let gone = keeper("DELETE", "job").await?;
    ensure!(gone.code == 204, "{}", gone.text());
    for (method, path) in [
        ("GET", "job/logs"),
        ("DELETE", "job"),
        ("GET", "job/logs?namespace=bank"),
        ("DELETE", "job?namespace=bank"),
        ("PUT", "job?namespace=bank"),
    ] {
        refused(path, &keeper(method, path).await?, &[400, 404])?;
    }
    let theirs = attack.with(&attack.other, "GET", "/api/tasks/job/logs", &[]).await?;
    ensure!(theirs.code == 200 && theirs.text().contains("quince broke"), "{}", theirs.text());
    let theirs =
        attack.with(&attack.other, "GET", "/api/platform/logs?filter=taskId%3Djob&limit=1000", &[]).await?;
    ensure!(theirs.text().contains("quince"), "{}", theirs.text());
    ensure!(!get(attack, "/api/platform/logs?filter=taskId%3Djob").await?.text().contains("apple broke"));
    Ok(())
}
