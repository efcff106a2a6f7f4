//! Logs of tasks, to the letter of what clients already speak, and under the caller's scope.

use anyhow::{Result, ensure};
use cordwood_core::entry::timestamp;
use cordwood_core::level::Level;
use cordwood_gateway::Limits;
use cordwood_tests::http::ask;
use serde_json::{Value, json};

use super::world::{World, container, ids, line, put, recent_us, tokens};

const TOKENS: &str = "tokens:\n\
    - {name: all, token: all-0123456789abcdef, tenants: all, change_tasks: true}\n\
    - {name: reads, token: reads-0123456789abcdef, tenants: all}\n\
    - {name: acme, token: acme-0123456789abcdef, tenants: [acme], change_tasks: true}\n\
    - {name: bank, token: bank-0123456789abcdef, tenants: all, namespaces: [bank], change_tasks: true}\n";

#[tokio::test]
async fn each_answer_is_as_clients_know_it() -> Result<()> {
    let at = recent_us();
    let lines = vec![
        line(at, Level::Debug, r#"{"level":"debug","taskId":"42","message":"begin"}"#),
        line(
            at + 1,
            Level::Info,
            r#"{"taskId":"42","message":"Half done","source":"plugin","metadata":{"progress":50,"by":{"who":"me"}}}"#,
        ),
        line(
            at + 2,
            Level::Warn,
            r#"{"level":"warning","task_id":42,"message":"slow 100%","source":"superset_api"}"#,
        ),
        line(
            at + 3,
            Level::Error,
            r#"{"level":"error","taskId":"42","message":"done","metadata":{"progress":100}}"#,
        ),
        line(at + 4, Level::Info, r#"{"taskId":"43","message":"another's"}"#),
    ];
    let world = World::with(18, &[(container("acme", "shop", 1), lines)]).await?;
    let item = |id: i64, level: &str, source: &str, message: &str, metadata: Value| {
        let mut item = json!({"id": id, "task_id": "42", "timestamp": timestamp(at + id - 1), "level": level,
            "source": source, "message": message});
        if !metadata.is_null() {
            item["metadata"] = metadata;
        }
        item
    };
    let all = [
        item(1, "DEBUG", "system", "begin", Value::Null),
        item(2, "INFO", "plugin", "Half done", json!({"progress": 50, "by": {"who": "me"}})),
        item(3, "WARNING", "superset_api", "slow 100%", json!({"level": "warning"})),
        item(4, "ERROR", "system", "done", json!({"progress": 100})),
    ];
    let path = "/api/tasks/42/logs";
    let page = world.json(path).await?;
    let expected = json!({"items": all[1..], "total": 3, "offset": 0, "limit": 100});
    ensure!(page == expected, "{page:#}\nexpected\n{expected:#}");
    let text = world.get(path).await?.text();
    let names = ["items", "id", "task_id", "timestamp", "level", "source", "message", "metadata"];
    let places: Vec<_> = names.iter().map(|name| text.find(&format!("\"{name}\":"))).collect();
    ensure!(places.iter().all(Option::is_some) && places.is_sorted(), "the order of names: {text}");
    for (query, expected, total) in [
        ("min_level=debug", &all[..], 4),
        ("level=DEBUG", &all[..1], 1),
        ("level=WARN&level=error", &all[2..], 2),
        ("min_level=Warning", &all[2..], 2),
        ("source=plugin&source=superset_api", &all[1..3], 2),
        ("search=HALF", &all[1..2], 1),
        ("search=100%25", &all[2..3], 1),
        ("search=1%25", &[], 0),
        ("metadata.progress=50&metadata.progress=51", &all[1..2], 1),
        ("metadata.by.who=me", &all[1..2], 1),
        ("metadata.by.who=you", &[], 0),
        ("offset=1&limit=1", &all[2..3], 3),
        ("offset=9", &[], 3),
    ] {
        let page = world.json(&format!("{path}?{query}")).await?;
        ensure!(page["items"] == json!(expected) && page["total"] == total, "{query}: {page:#}");
    }
    let stats = world.json(&format!("{path}/stats")).await?;
    let expected = json!({
        "total": 4, "by_level": {"DEBUG": 1, "INFO": 1, "WARNING": 1, "ERROR": 1},
        "by_source": {"system": 2, "plugin": 1, "superset_api": 1},
    });
    ensure!(stats == expected, "{stats}");
    let sources = world.json(&format!("{path}/sources")).await?;
    ensure!(sources == json!(["plugin", "superset_api", "system"]), "{sources}");
    for (query, parameter) in
        [("level=loud", "level"), ("limit=0", "limit"), ("metadata.=1", "metadata."), ("page=1", "page")]
    {
        let answer = world.get(&format!("{path}?{query}")).await?;
        ensure!(answer.code == 400 && answer.json()?["parameter"] == parameter, "{query}: {}", answer.text());
    }

    let by = async |method: &str, path: &str| ask(&world.address, method, path, &[]).await;
    ensure!(by("PUT", "/api/tasks/new?namespace=shop&tenant=acme").await?.code == 201);
    let again = by("PUT", "/api/tasks/new?namespace=shop&tenant=acme").await?;
    ensure!(
        again.code == 200
            && again.json()? == json!({"task_id": "new", "namespace": "shop", "tenant": "acme"})
    );
    let empty = world.json("/api/tasks/new/logs").await?;
    ensure!(empty == json!({"items": [], "total": 0, "offset": 0, "limit": 100}), "{empty}");

    let records = world.json("/api/platform/logs?taskId=42").await?;
    let id = ids(&records).remove(0);
    ensure!(ids(&records).len() == 4);
    let deleted = by("DELETE", "/api/tasks/42").await?;
    ensure!(deleted.code == 204 && deleted.body.is_empty(), "{}", deleted.text());
    for method in ["DELETE", "GET"] {
        let path = if method == "GET" { path } else { "/api/tasks/42" };
        let gone = by(method, path).await?;
        ensure!(
            gone.code == 404 && gone.json()?["type"] == "urn:cordwood:problem:no-task",
            "{}",
            gone.text()
        );
    }
    ensure!(by("PUT", "/api/tasks/42?namespace=shop&tenant=acme").await?.code == 409);
    // Nowhere else either.
    ensure!(ids(&world.json("/api/platform/logs").await?).len() == 1);
    for path in [format!("/api/platform/logs/{id}"), format!("/api/platform/logs/{id}/context")] {
        ensure!(world.get(&path).await?.code == 404, "{path}");
    }
    let other = ids(&world.json("/api/platform/logs").await?).remove(0);
    let context = world.json(&format!("/api/platform/logs/{other}/context")).await?;
    ensure!(ids(&context) == [other], "{context}");
    for counted in ["histogram?from=-1h&to=now", "facets"] {
        let counts = world.json(&format!("/api/platform/logs/{counted}")).await?;
        ensure!(counts["records"] == 1, "{counts}");
    }
    let export = ask(&world.address, "GET", "/api/platform/logs", &[("Accept", "text/plain")]).await?;
    ensure!(export.text().contains("another's") && !export.text().contains("Half done"), "{}", export.text());
    Ok(())
}

#[tokio::test]
async fn a_task_of_somebody_else_is_not_there() -> Result<()> {
    let at = recent_us();
    let of = |name: &str| vec![line(at, Level::Info, format!(r#"{{"taskId":"42","message":"{name}"}}"#))];
    let sources = [
        (container("acme", "shop", 1), of("acme in the shop")),
        (container("other", "shop", 2), of("other in the shop")),
    ];
    let world = World::start(15, &sources, tokens(TOKENS)?, Limits::default()).await?;
    let by = async |token: &str, method: &str, path: &str| {
        let bearer = format!("Bearer {token}-0123456789abcdef");
        ask(&world.address, method, path, &[("Authorization", &bearer), ("X-Request-Id", "test")]).await
    };
    let total = async |token: &str| -> Result<Value> {
        Ok(by(token, "GET", "/api/tasks/42/logs").await?.json()?["total"].clone())
    };
    ensure!(total("acme").await? == 1 && total("all").await? == 2 && total("reads").await? == 2);
    let nowhere = by("bank", "GET", "/api/tasks/nowhere/logs").await?;
    for (token, method, path) in [
        ("bank", "GET", "/api/tasks/42/logs"),
        ("bank", "GET", "/api/tasks/42/logs/stats"),
        ("bank", "GET", "/api/tasks/42/logs/sources?namespace=shop"),
        ("bank", "DELETE", "/api/tasks/42"),
        ("bank", "PUT", "/api/tasks/42?namespace=shop&tenant=acme"),
        ("acme", "PUT", "/api/tasks/42?tenant=other&namespace=shop"),
        ("reads", "DELETE", "/api/tasks/42"),
        ("reads", "PUT", "/api/tasks/new?namespace=shop&tenant=acme"),
    ] {
        let answer = by(token, method, path).await?;
        ensure!(
            answer.code == 404 && answer.body == nowhere.body,
            "{token} {method} {path}: {}",
            answer.text()
        );
    }
    // One's own part alone.
    ensure!(by("acme", "DELETE", "/api/tasks/42").await?.code == 204);
    ensure!(total("all").await? == 1);
    let left = by("all", "GET", "/api/platform/logs").await?.json()?;
    ensure!(ids(&left).len() == 1 && left["items"][0]["tenantSlug"] == "other", "{left}");
    put(&world.store, &[(container("other", "bank", 3), of("other in the bank"))]).await?;
    let several = by("all", "GET", "/api/tasks/42/logs").await?;
    ensure!(several.code == 409 && several.json()?["parameter"] == "namespace", "{}", several.text());
    ensure!(by("all", "GET", "/api/tasks/42/logs?namespace=bank").await?.json()?["total"] == 1);
    Ok(())
}
