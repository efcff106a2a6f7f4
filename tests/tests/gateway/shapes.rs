//! What answers look like, to the letter.

use anyhow::{Result, ensure};
use cordwood_core::entry::timestamp;
use cordwood_core::level::Level;
use cordwood_core::record::Flags;
use cordwood_core::signature::error_group;
use cordwood_store::errors::HOUR_US;
use cordwood_tests::http::ask;
use serde_json::{Value, json};

use super::world::{Line, World, container, ids, line, recent_us};

/// The hour in which a time lies.
fn hour(time_us: i64) -> String {
    timestamp(time_us.div_euclid(HOUR_US) * HOUR_US)
}

fn equal(what: &str, found: &Value, expected: &Value) -> Result<()> {
    ensure!(found == expected, "{what}:\n{found:#}\nexpected:\n{expected:#}");
    Ok(())
}

#[tokio::test]
async fn each_answer_is_as_it_is_described() -> Result<()> {
    let at = recent_us();
    let body = r#"{"level":"error","msg":"payment failed","orderId":4711,"traceId":"4bf92f3577b34da6a3ce929d0e0e4736"}"#;
    let lines = vec![
        line(at, Level::Error, body),
        line(at + 1_000_000, Level::Info, "plain text"),
        Line {
            flags: Flags::AUDIT,
            ..line(at + 61_000_000, Level::Info, r#"{"is_audit":true,"action":"login","message":"in"}"#)
        },
    ];
    let world = World::with(15, &[(container("acme", "shop", 1), lines)]).await?;
    let id = |place: usize| format!("{}.0-0-{place}", at + [0, 1_000_000, 61_000_000][place]);

    let signature = error_group(body.as_bytes()).signature.to_string();
    let first = json!({
        "id": id(0), "timestamp": timestamp(at), "level": "ERROR", "category": "system", "tenantId": "acme",
        "tenantSlug": "acme", "traceId": "4bf92f3577b34da6a3ce929d0e0e4736", "service": "checkout",
        "message": "payment failed", "data": {"orderId": 4711}, "signature": signature, "namespace": "shop", "pod": "pod-1",
        "container": "app", "node": "node-1", "stream": "stdout",
    });
    let page = world.json("/api/platform/logs?filter=payment").await?;
    let expected = json!({"items": [first], "previous": id(0), "complete": true});
    equal("a page", &page, &expected)?;
    equal("a record", &world.json(&format!("/api/platform/logs/{}", id(0))).await?, &first)?;

    let page = world.json("/api/platform/logs?limit=1").await?;
    let searched = page["searchedBackTo"].as_str().unwrap_or_default().to_owned();
    ensure!(
        ids(&page) == [id(2)] && page["next"] == id(2) && searched == timestamp(at + 61_000_000),
        "{page}"
    );
    let page = world.json("/api/platform/logs?limit=1&order=oldest").await?;
    ensure!(ids(&page) == [id(0)] && page["searchedForwardTo"] == timestamp(at), "{page}");
    let none = world.json("/api/platform/logs?filter=nowhere&to=now").await?;
    equal("an empty page", &none, &json!({"items": [], "complete": true}))?;
    let unindexed = world.json("/api/platform/logs?filter=*aymen*").await?;
    ensure!(ids(&unindexed) == [id(0)] && unindexed["unindexed"] == json!(["*aymen*"]), "{unindexed}");

    let bytes =
        ask(&world.address, "GET", &format!("/api/platform/logs/{}", id(0)), &[("Accept", "text/plain")])
            .await?;
    ensure!(
        bytes.body == body.as_bytes() && bytes.headers["content-type"].starts_with("text/plain"),
        "{bytes:?}"
    );
    ensure!(
        bytes.headers["x-content-type-options"] == "nosniff" && bytes.headers["cache-control"] == "no-store"
    );
    let policy = bytes.headers.get("cross-origin-resource-policy").map(String::as_str);
    ensure!(policy == Some("same-origin") && bytes.headers.contains_key("x-frame-options"), "{bytes:?}");

    let range = format!("from={}&to={}", timestamp(at), timestamp(at + 120_000_000));
    let histogram = world.json(&format!("/api/platform/logs/histogram?{range}&bins=2")).await?;
    let bins = histogram["bins"].as_array().cloned().unwrap_or_default();
    let total: u64 = bins
        .iter()
        .flat_map(|bin| bin["counts"].as_object().into_iter().flatten())
        .filter_map(|(_, count)| count.as_u64())
        .sum();
    ensure!(histogram["binSeconds"] == 60 && histogram["records"] == 3 && total == 3, "{histogram}");
    ensure!(histogram["counted"] == "records" && histogram["complete"] == true, "{histogram}");
    ensure!(bins.iter().any(|bin| bin["counts"]["ERROR"] == 1), "{histogram}");
    // By a word, each record has to be looked at.
    let by_word = world.json(&format!("/api/platform/logs/histogram?{range}&bins=2&text=checkout")).await?;
    ensure!(histogram["byBlocks"].as_u64() > Some(0) && by_word.get("byBlocks").is_none(), "{by_word}");

    let facets = world.json("/api/platform/logs/facets?field=level&field=action&values=1").await?;
    let expected = json!({
        "facets": {
            "action": {"values": [{"value": "login", "count": 1}], "others": 0, "missing": 2},
            "level": {"values": [{"value": "INFO", "count": 2}], "others": 1, "missing": 0},
        },
        "records": 3, "complete": true,
    });
    equal("facets", &facets, &expected)?;
    let completed = world.json("/api/platform/logs/facets?field=service&prefix=CHE").await?;
    ensure!(
        completed["facets"]["service"]["values"] == json!([{"value": "checkout", "count": 3}]),
        "{completed}"
    );

    let group = json!({
        "signature": signature, "level": "ERROR", "count": 1, "firstSeen": timestamp(at), "lastSeen": timestamp(at),
        "tenants": ["acme"], "services": ["checkout"],
        "sample": {"id": id(0), "timestamp": timestamp(at), "message": "payment failed"},
        "trend": [{"time": hour(at), "count": 1}],
    });
    equal("a group", &world.json(&format!("/api/platform/logs/aggregates/{signature}")).await?, &group)?;
    let groups = world.json(&format!("/api/platform/logs/aggregates?{range}")).await?;
    let expected = json!({
        "items": [group], "from": hour(at), "to": hour(at + 120_000_000 + HOUR_US - 1), "binSeconds": 3600,
    });
    equal("groups", &groups, &expected)?;
    let found = world.json(&format!("/api/platform/logs?filter=signature%3A{signature}")).await?;
    ensure!(ids(&found) == [id(0)], "{found}");
    ensure!(world.json(&format!("/api/platform/logs?signature={signature}")).await? == found);

    let me = json!({"name": "local", "knownBy": "loopback", "audit": true});
    equal("who am I", &world.json("/api/whoami").await?, &me)?;
    let document = world.get("/api/openapi.json").await?;
    ensure!(document.text() == cordwood_gateway::openapi_json() && document.json()?["openapi"] == "3.1.0");
    Ok(())
}

#[tokio::test]
async fn what_stands_around_a_record_is_of_its_container_whatever_it_says() -> Result<()> {
    let at = recent_us();
    let lines = |name: &str, from: i64| -> Vec<Line> {
        let level = |n: i64| if n % 3 == 0 { Level::Debug } else { Level::Warn };
        (0..40).map(|n| line(at + from + n * 1_000, level(n), format!("{name} {n}"))).collect()
    };
    let sources = [
        (container("acme", "shop", 1), lines("one", 0)),
        (container("acme", "shop", 2), lines("two", 500)),
        // The same pod's name, of another pod: it ran before.
        (
            cordwood_core::origin::Origin { pod_uid: "uid-old".into(), ..container("acme", "shop", 1) },
            lines("old", 250),
        ),
    ];
    let world = World::with(15, &sources).await?;
    let found = world.json("/api/platform/logs?filter=%22one+20%22").await?;
    let id = ids(&found).remove(0);
    let context = world.json(&format!("/api/platform/logs/{id}/context?before=3&after=2")).await?;
    let items = context["items"].as_array().cloned().unwrap_or_default();
    let messages: Vec<&str> = items.iter().filter_map(|item| item["message"].as_str()).collect();
    ensure!(messages == ["one 17", "one 18", "one 19", "one 20", "one 21", "one 22"], "{messages:?}");
    ensure!(context["id"] == id && context["complete"] == true, "{context}");
    let alone = world.json(&format!("/api/platform/logs/{id}/context?before=0&after=0")).await?;
    ensure!(ids(&alone) == std::slice::from_ref(&id));
    let all = world.json(&format!("/api/platform/logs/{id}/context")).await?;
    ensure!(ids(&all).len() == 40, "{}", ids(&all).len());
    Ok(())
}
