//! Who looked at what is a record like any other: of the gateway's own service, and an audit record.

use std::sync::{Arc, Mutex};

use anyhow::{Context, Result, ensure};
use cordwood_core::level::Level;
use cordwood_core::origin::Origin;
use cordwood_core::record::Flags;
use cordwood_gateway::{Audit, Gateway, Limits};
use cordwood_tests::http::ask;
use prometheus::Registry;
use serde_json::{Value, json};

use super::live::Frames;
use super::world::{Line, World, container, line, put, recent_us, tokens};

const TOKENS: &str = "tokens:
- {name: anna, token: anna-0123456789abcdef, tenants: [acme]}
- {name: root, token: root-0123456789abcdef, tenants: all, audit: true, change_tasks: true}
";
const ANNA: (&str, &str) = ("Authorization", "Bearer anna-0123456789abcdef");
const ROOT: (&str, &str) = ("Authorization", "Bearer root-0123456789abcdef");

/// What the gateway wrote, and how much of that is stored.
#[derive(Clone, Default)]
struct Written(Arc<Mutex<String>>);

impl Written {
    fn lines(&self) -> Result<Vec<Value>> {
        let text = self.0.lock().ok().context("poisoned")?.clone();
        Ok(text.lines().map(serde_json::from_str).collect::<Result<_, _>>()?)
    }

    /// The way of every line, as the agent sends it.
    async fn store(&self, world: &World, skip: usize) -> Result<()> {
        let text = self.0.lock().ok().context("poisoned")?.clone();
        let origin =
            Origin { service: "cordwood-gateway".into(), ..container("ops", "cordwood", 100 + skip as u32) };
        let lines = text.lines().skip(skip).enumerate().map(|(n, body)| {
            let fields = cordwood_core::fields::quick(body.as_bytes());
            let flags = if fields.audit { Flags::AUDIT } else { Flags::default() };
            Line { time_us: recent_us() + n as i64, level: fields.level, flags, body: body.to_owned() }
        });
        put(&world.store, &[(origin, lines.collect())]).await
    }
}

#[tokio::test]
async fn who_looked_at_what_is_an_audit_record() -> Result<()> {
    let at = recent_us();
    let lines = (0..5).map(|n| line(at + n, Level::Info, format!("card {n}"))).collect();
    let mut world = World::with(15, &[(container("acme", "shop", 0), lines)]).await?;
    let written = Written::default();
    let into = written.clone();
    let audit = Audit::to(true, move |line| {
        into.0.lock().map_err(|_| std::io::ErrorKind::Other)?.push_str(&String::from_utf8_lossy(line));
        Ok(())
    });
    let gateway = Gateway::new(world.store.clone(), tokens(TOKENS)?, &Limits::default(), &Registry::new())?;
    let running = cordwood_gateway::start(gateway.audited(audit), "127.0.0.1:0".parse()?).await?;
    world.address = running.address.to_string();
    let get = async |path: &str, headers: &[(&str, &str)]| ask(&world.address, "GET", path, headers).await;

    let id = ("X-Request-Id", "trace-4711");
    let found = get("/api/platform/logs?text=card&limit=3&from=-1h", &[ANNA, id]).await?;
    ensure!(found.code == 200 && found.headers["x-request-id"] == "trace-4711", "{found:?}");
    let refused = get("/api/platform/logs?filter=(", &[ANNA, ("X-Request-Id", "not sane")]).await?;
    let made = refused.headers["x-request-id"].clone();
    ensure!(refused.json()?["requestId"] == made.as_str() && !made.contains(' '), "{}", refused.text());
    let export = get("/api/platform/logs", &[ANNA, ("Accept", "application/x-ndjson")]).await?;
    ensure!(export.text().contains("\"complete\":true"), "{}", export.text());
    get("/api/platform/logs", &[("Authorization", "Bearer nobody-0123456789")]).await?;
    get("/api/whoami", &[ANNA]).await?;
    ask(&world.address, "PUT", "/api/tasks/t1?tenant=acme", &[ROOT]).await?;
    let told = |line: &Value| {
        let of = &line["metadata"];
        json!([
            line["userId"],
            line["action"],
            of["records"],
            of["outcome"],
            line["requestId"] == "trace-4711"
        ])
    };
    let all = written.lines()?;
    ensure!(
        all.iter().map(told).collect::<Vec<_>>()
            == [
                json!(["anna", "looked", 3, "ok", true]),
                json!(["anna", "looked", null, "refused", false]),
                json!(["anna", "export_started", null, "ok", false]),
                json!(["anna", "export_ended", 5, "ok", false]),
                json!(["root", "changed", null, "ok", false]),
            ],
        "{all:#?}"
    );
    let first = &all[0]["metadata"];
    ensure!(first["question"] == json!({"text": ["card"], "limit": ["3"], "from": ["-1h"]}), "{first}");
    ensure!(first["scope"][0]["tenants"]["names"] == json!(["acme"]), "{first}");
    ensure!(all[1]["requestId"] == made.as_str() && all[4]["metadata"]["path"] == "/api/tasks/t1");

    written.store(&world, 0).await?;
    let looks =
        "/api/platform/logs?category=audit&service=cordwood-gateway&userId=anna&filter=action%3Dlooked";
    let seen = get(looks, &[ROOT]).await?.json()?;
    let items = seen["items"].as_array().context("no items")?;
    ensure!(items.len() == 2 && items[1]["metadata"]["records"] == 3, "{seen:#}");
    ensure!(get(looks, &[ANNA]).await?.json()?["items"] == json!([]), "who looks sees no looks");

    // A stream of looks shows that it began, once, and what others look at.
    let before = written.lines()?.len();
    let mut frames = Frames::open(&world, "category=audit&service=cordwood-gateway", &[ROOT]).await?;
    frames.expect("hello").await?;
    frames.expect("caughtUp").await?;
    for round in 0..3 {
        let stored = written.lines()?.len();
        ensure!(stored == before + 1 + round, "{stored}");
        written.store(&world, stored - 1).await?;
        let (messages, _) = frames.records(1).await?;
        let wanted = if round == 0 { "root: stream_started" } else { "anna: looked" };
        ensure!(messages[0].starts_with(wanted), "{messages:?}");
        get("/api/platform/logs?limit=1", &[ANNA]).await?;
    }
    drop(frames);
    running.stop().await;
    let end = written.lines()?.pop().context("no line")?;
    ensure!(end["action"] == "stream_ended" && end["metadata"]["records"] == 3, "{end}");
    Ok(())
}
