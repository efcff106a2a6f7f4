//! People of an identity provider, on a real API server with the same settings: the same names, what RBAC grants them and nothing else; a login with
//! a browser, tickets, and the end of what lasts.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use cordwood_gateway::{Access, Cluster, Gateway, Limits, Oidc, Running, Seals};
use cordwood_tests::env::wait_for;
use cordwood_tests::http::{Answer, ask};
use futures::SinkExt as _;
use futures::StreamExt as _;
use prometheus::Registry;
use serde_json::json;
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{self, Message};

use super::people::{ORIGIN, People, user};
use super::rights::{Stored, sees_just, stored};
use super::world::{World, ids};

const PATIENCE: Duration = Duration::from_secs(30);
async fn get_as(address: &str, token: &str, path: &str) -> Result<Answer> {
    ask(address, "GET", path, &[("Authorization", &format!("Bearer {token}"))]).await
}

fn now_s() -> i64 {
    jiff::Timestamp::now().as_second()
}

#[tokio::test(flavor = "multi_thread")]
async fn people_have_one_name_and_see_what_it_is_granted() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut people = People::start(folder.path()).await?;
    let (sources, stored) = stored();
    let world = World::start(15, &sources, people.access().await?, Limits::default()).await?;
    let address = world.address.as_str();
    // A page, by somebody whom nobody asked about yet: what it costs the API server.
    let token = people.provider.sign(&json!({"sub": "anna"})).await?;
    let before = (people.reviews("subjectaccessreviews").await?, people.reviews("tokenreviews").await?);
    let page = async || {
        let paths = [
            "/api/platform/logs",
            "/api/platform/logs/facets",
            "/api/platform/logs/histogram",
            "/api/whoami",
        ];
        let answers = futures::future::try_join_all(paths.map(|path| get_as(address, &token, path))).await?;
        ensure!(answers.iter().all(|answer| answer.code == 200), "{answers:?}");
        Ok(())
    };
    page().await?;
    let (asked, tokens) =
        (people.reviews("subjectaccessreviews").await?, people.reviews("tokenreviews").await?);
    // The cluster; two tenants; three namespaces with data; audit records of the one that is granted.
    ensure!(asked - before.0 <= 7.0 && tokens == before.1, "{} and {}", asked - before.0, tokens - before.1);
    page().await?;
    ensure!(people.reviews("subjectaccessreviews").await? == asked, "a second page costs nothing");
    // The gateway knows everyone whom the API server knows, by the same name and groups, and nobody else.
    wait_for("the API server to know the identity provider", PATIENCE, || async {
        people.known_to_api_server(&token).await?.context("nobody")
    })
    .await?;
    let mut known = 0;
    // Times are from when a token is made.
    for mut claims in [
        json!({"sub": "anna"}),
        json!({"sub": "anna", "groups": ["auditors", "dev"]}),
        json!({"sub": "anna", "groups": "auditors"}),
        json!({"sub": "system:admin", "groups": ["system:masters"]}),
        json!({"sub": "anna", "groups": 7}),
        json!({"sub": "anna", "groups": ["dev", 7]}),
        json!({"sub": 7}),
        json!({}),
        json!({"sub": "anna", "aud": "other"}),
        json!({"sub": "anna", "aud": ["other", "cordwood"]}),
        json!({"sub": "anna", "aud": []}),
        json!({"sub": "anna", "exp": -2}),
        json!({"sub": "anna", "exp": 600}),
        json!({"sub": "anna", "nbf": 40}),
        json!({"sub": "anna", "nbf": 600}),
        json!({"sub": "anna", "iss": "https://127.0.0.1:1"}),
        json!({"sub": "anna", "iss": format!("{}/", people.provider.issuer())}),
    ] {
        for time in ["exp", "nbf"] {
            if let Some(from_now_s) = claims[time].as_i64() {
                claims[time] = json!(now_s() + from_now_s);
            }
        }
        let token = people.provider.sign(&claims).await?;
        let there = people.known_to_api_server(&token).await?;
        let answer = get_as(address, &token, "/api/whoami").await?;
        let here = match answer.code {
            200 => {
                let me = answer.json()?;
                ensure!(me["knownBy"] == "oidc", "{me}");
                let name = me["name"].as_str().context("no name")?.to_owned();
                Some((name, serde_json::from_value::<Vec<String>>(me["groups"].clone())?))
            }
            401 => None,
            code => bail!("{claims}: {code} {}", answer.text()),
        };
        ensure!(here == there, "{claims}: {here:?}, and to the API server {there:?}");
        known += usize::from(here.is_some());
    }
    ensure!(known == 7, "{known}");
    // What each route shows; the command that would show more.
    let may = |record: &Stored| record.namespace == "shop" && !record.audit && !record.old;
    sees_just(address, &token, "anna", &stored, may, &[]).await?;
    let auditor = people.provider.sign(&json!({"sub": "bert", "groups": ["auditors"]})).await?;
    let seen = ids(&get_as(address, &auditor, "/api/platform/logs").await?.json()?);
    let of_bank = stored.iter().filter(|record| record.namespace == "bank");
    ensure!(
        of_bank.clone().all(|record| seen.contains(&record.id)) && seen.len() == of_bank.count(),
        "{seen:?}"
    );
    let me = get_as(address, &token, "/api/whoami").await?.json()?;
    ensure!(me["namespaces"] == json!(["shop"]) && me["endsAt"].is_string(), "{me}");
    ensure!(me["more"].as_str().is_some_and(|more| more.contains("--user='oidc:anna'")), "{me}");
    // A service account is known as before.
    let account = people.cluster.token("reader", "cordwood").await?;
    people.cluster.bind("reader", "logs", "").await?;
    ensure!(get_as(address, &account, "/api/whoami").await?.json()?["knownBy"] == "kubernetes");
    // Another key signs; tokens of the one before hold as long as the issuer names it.
    people.provider.rotate().await?;
    let turned = people.provider.sign(&json!({"sub": "anna"})).await?;
    wait_for("the new key to be known", PATIENCE, || async {
        ensure!(get_as(address, &turned, "/api/whoami").await?.code == 200);
        Ok(())
    })
    .await?;
    ensure!(get_as(address, &token, "/api/whoami").await?.code == 200);
    // The issuer is away: what is known holds, what is not known is not guessed.
    people.provider.rotate().await?;
    let unknown = people.provider.sign(&json!({"sub": "anna"})).await?;
    people.provider.kill();
    for token in [&token, &turned] {
        ensure!(get_as(address, token, "/api/whoami").await?.code == 200);
    }
    wait_for("an unknown key to be asked for", PATIENCE, || async {
        let answer = get_as(address, &unknown, "/api/whoami").await?;
        ensure!(answer.code == 503 && answer.headers.contains_key("retry-after"), "{}", answer.text());
        Ok(())
    })
    .await
}

struct Replica {
    running: Running,
    address: String,
}

impl Replica {
    async fn start(
        world: &World,
        people: &People,
        config: &cordwood_gateway::KubernetesAccess,
        key: &Path,
    ) -> Result<Replica> {
        let cluster = Cluster::new(config).await?.with_oidc(Oidc::new(&people.config)?);
        let gateway = Gateway::new(
            world.store.clone(),
            Access::Cluster(Arc::new(cluster)),
            &Limits::default(),
            &Registry::new(),
        )?;
        let gateway = gateway.with_session_keys(Seals::read(key)?);
        let running = cordwood_gateway::start(gateway, "127.0.0.1:0".parse()?).await?;
        let address = running.address.to_string();
        Ok(Replica { running, address })
    }

    async fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Result<Answer> {
        ask(&self.address, method, path, headers).await
    }

    async fn socket(&self, headers: &[(&'static str, &str)]) -> Result<Result<Socket, u16>> {
        let mut request = format!("ws://{}/api/platform/logs/stream", self.address).into_client_request()?;
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse()?);
        }
        let stream = TcpStream::connect(&self.address).await?;
        match tokio_tungstenite::client_async(request, stream).await {
            Ok((socket, _)) => Ok(Ok(socket)),
            Err(tungstenite::Error::Http(answer)) => Ok(Err(answer.status().as_u16())),
            Err(error) => Err(error.into()),
        }
    }
}

type Socket = WebSocketStream<TcpStream>;

/// What a browser keeps of an answer, name and value.
fn cookies(answer: &Answer) -> BTreeMap<String, String> {
    let lines = answer.headers.get("set-cookie").map(String::as_str).unwrap_or_default().lines();
    let pairs = lines.filter_map(|line| line.split(';').next()?.split_once('='));
    pairs
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .filter(|(_, value)| !value.is_empty())
        .collect()
}

fn sent(cookies: &BTreeMap<String, String>) -> String {
    cookies.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("; ")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_logs_in_and_no_other_page_uses_it() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let people = People::start(folder.path()).await?;
    let rule = json!({"apiGroups": ["cordwood.dev"], "resources": ["tasklogs"], "verbs": ["get", "delete"]});
    people.cluster.cluster_role("tasks", json!([rule])).await?;
    people.cluster.bind_subject("anna-tasks", user("anna"), "tasks", "shop").await?;
    people.cluster.bind_subject("bert-tasks", user("bert"), "tasks", "shop").await?;
    let (sources, _) = stored();
    let world = World::with(18, &sources).await?;
    let key = folder.path().join("session-key");
    std::fs::write(&key, "0123456789abcdef0123456789abcdef\n")?;
    let config = people.cluster.gateway().await?;
    let one = Replica::start(&world, &people, &config, &key).await?;
    let other = Replica::start(&world, &people, &config, &key).await?;

    // The gateway leads a browser that opens a page there; it tells a program.
    let page = one.ask("GET", "/errors?level=warn", &[("Accept", "text/html")]).await?;
    ensure!(page.code == 303, "{}", page.text());
    ensure!(page.headers["location"] == "/api/login?return=%2Ferrors%3Flevel%3Dwarn", "{:?}", page.headers);

    // There, through the provider's pages, and back to another replica.
    let begun = one.ask("GET", "/api/login?return=/logs%3Ffilter%3Da", &[]).await?;
    ensure!(begun.code == 303, "{}", begun.text());
    let login = sent(&cookies(&begun));
    let browser = people.provider.browser("anna");
    let back = browser.log_in(&begun.headers["location"], "anna").await?;
    let callback = back.strip_prefix(ORIGIN).context("another place")?;
    for (cookie, path) in [
        ("", callback.to_owned()),
        (login.as_str(), callback.replace("state=", "state=x")),
        (&login, callback.replace("iss=", "iss=https%3A%2F%2Fother")),
        (&login, callback.split("code=").next().context("no code")?.to_owned()),
        (&sent(&cookies(&one.ask("GET", "/api/login", &[]).await?)), callback.to_owned()),
    ] {
        let answer = other.ask("GET", &path, &[("Cookie", cookie)]).await?;
        ensure!(answer.code == 400 && cookies(&answer).is_empty(), "{path}: {}", answer.text());
    }
    let arrived = other.ask("GET", callback, &[("Cookie", &login)]).await?;
    ensure!(arrived.code == 303, "{}", arrived.text());
    ensure!(arrived.headers["location"] == format!("{ORIGIN}/logs?filter=a"), "{arrived:?}");
    let set = arrived.headers["set-cookie"].lines();
    for line in set {
        let is_kept = ["__Host-", "Secure", "HttpOnly", "SameSite=Lax", "Path=/"]
            .iter()
            .all(|word| line.contains(word));
        ensure!(is_kept && !line.contains("Domain"), "{line}");
    }
    let session = sent(&cookies(&arrived));
    let again = one.ask("GET", callback, &[("Cookie", &login)]).await?;
    ensure!(again.code == 400 && cookies(&again).is_empty(), "a code is good once: {}", again.text());
    for path in ["//evil.example", "/%5Cevil.example", "https%3A%2F%2Fevil.example", "/%09/evil.example"] {
        ensure!(one.ask("GET", &format!("/api/login?return={path}"), &[]).await?.code == 400, "{path}");
    }

    // The session is the person, at either replica, from a page of ours alone.
    for replica in [&one, &other] {
        let me = replica.ask("GET", "/api/whoami", &[("Cookie", &session)]).await?.json()?;
        ensure!(
            me["name"] == "oidc:anna" && me["knownBy"] == "oidc" && me["namespaces"] == json!(["shop"]),
            "{me}"
        );
        ensure!(me["groups"].to_string().contains("oidc:people") && me["endsAt"].is_string(), "{me}");
        let logs = replica.ask("GET", "/api/platform/logs", &[("Cookie", &session)]).await?.json()?;
        ensure!(ids(&logs).len() == 2, "{logs}");
        let evil = [("Cookie", session.as_str()), ("Origin", "https://evil.example")];
        ensure!(replica.ask("GET", "/api/platform/logs", &evil).await?.code == 403);
    }
    let cut = session.split_at(session.len() - 1).0;
    ensure!(one.ask("GET", "/api/whoami", &[("Cookie", cut)]).await?.code == 401);
    for (origin, code) in
        [(None, 403), (Some("https://evil.example"), 403), (Some("null"), 403), (Some(ORIGIN), 201)]
    {
        let mut headers = vec![("Cookie", session.as_str())];
        headers.extend(origin.map(|origin| ("Origin", origin)));
        let answer = one.ask("PUT", "/api/tasks/4711?namespace=shop&tenant=acme", &headers).await?;
        ensure!(answer.code == code, "{origin:?}: {} {}", answer.code, answer.text());
    }
    // A caller who may read and delete lines of tasks sees no other lines, and changes none in another namespace.
    let bert = people.provider.sign(&json!({"sub": "bert"})).await?;
    let bert = format!("Bearer {bert}");
    let bert = [("Authorization", bert.as_str())];
    ensure!(one.ask("GET", "/api/tasks/4711/logs", &bert).await?.code == 200);
    ensure!(ids(&one.ask("GET", "/api/platform/logs", &bert).await?.json()?).is_empty());
    ensure!(one.ask("PUT", "/api/tasks/5?namespace=bank&tenant=acme", &bert).await?.code == 404);
    ensure!(one.ask("DELETE", "/api/tasks/4711", &bert).await?.code == 204);
    ensure!(one.ask("GET", "/api/tasks/4711/logs", &bert).await?.code == 404);

    // A WebSocket: with the cookie from our pages alone, with a ticket once from any.
    let protocol = ("sec-websocket-protocol", "cordwood.v1");
    let cookie = ("cookie", session.as_str());
    for headers in
        [&[protocol, cookie][..], &[protocol, cookie, ("origin", "https://evil.example")], &[protocol]]
    {
        let expected = if headers.len() == 1 { 401 } else { 403 };
        ensure!(one.socket(headers).await?.err() == Some(expected), "{headers:?}");
    }
    ensure!(one.socket(&[protocol, cookie, ("origin", ORIGIN)]).await?.is_ok());
    let made = one.ask("POST", "/api/ticket", &[("Cookie", &session), ("Origin", ORIGIN)]).await?;
    ensure!(made.code == 201, "{}", made.text());
    let ticket = made.json()?["ticket"].as_str().context("no ticket")?.to_owned();
    let offered = format!("cordwood.v1, cordwood.ticket.{ticket}");
    let foreign = [("sec-websocket-protocol", offered.as_str()), ("origin", "https://portal.example")];
    ensure!(other.socket(&foreign).await?.is_ok());
    ensure!(other.socket(&foreign).await?.err() == Some(401), "a ticket is good once");
    ensure!(one.ask("POST", "/api/ticket", &[("Cookie", &session)]).await?.code == 403);
    ensure!(one.ask("POST", "/api/ticket", &[]).await?.code == 401);

    // A stream ends with its reader's token.
    let mut lasts_s = 3;
    let mut socket = loop {
        let short = people.provider.sign(&json!({"sub": "anna", "exp": now_s() + lasts_s})).await?;
        let bearer = format!("Bearer {short}");
        match one.socket(&[protocol, ("authorization", &bearer)]).await? {
            Ok(socket) => break socket,
            // On a slow machine it was over before it was looked at.
            Err(code) => ensure!(code == 401 && lasts_s < 60, "{code} of a token for {lasts_s} s"),
        }
        lasts_s *= 3;
    };
    let start = json!({"type": "start", "filter": {}, "credit": 10});
    socket.send(Message::text(start.to_string())).await?;
    let code = tokio::time::timeout(3 * PATIENCE, async {
        while let Some(message) = socket.next().await {
            if let Message::Close(Some(frame)) = message? {
                return Ok(u16::from(frame.code));
            }
        }
        bail!("no code")
    });
    ensure!(code.await?? == 4401);

    let stay =
        one.ask("POST", "/api/logout", &[("Cookie", &session), ("Origin", "https://evil.example")]).await?;
    ensure!(stay.code == 403, "{}", stay.text());
    let left = one.ask("POST", "/api/logout", &[("Cookie", &session), ("Origin", ORIGIN)]).await?;
    ensure!(left.code == 204 && cookies(&left).is_empty(), "{left:?}");
    ensure!(left.headers["set-cookie"].lines().all(|line| line.contains("Max-Age=0")), "{left:?}");
    for replica in [one, other] {
        replica.running.stop().await;
    }
    Ok(())
}
