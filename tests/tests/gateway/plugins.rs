//! A plugin's lines by pages with numbers, to the letter of what clients already speak.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use cordwood_core::level::Level;
use cordwood_core::origin::Origin;
use cordwood_gateway::Limits;
use serde_json::{Value, json};

use super::world::{Line, World, container, line, put, recent_us, tokens};

fn plugin(name: &str, number: u32) -> Origin {
    Origin { plugin: name.into(), ..container("acme", "shop", number) }
}

fn messages(page: &Value) -> Vec<String> {
    let logs = page["logs"].as_array().cloned().unwrap_or_default();
    logs.iter().map(|line| line["message"].as_str().unwrap_or_default().to_owned()).collect()
}

#[tokio::test]
async fn a_page_is_as_clients_know_it() -> Result<()> {
    // 15:30:45.123 of some day.
    let at = recent_us() / 1_000_000 * 1_000_000 + 123_456;
    let lines = vec![
        line(
            at - 1_000_000,
            Level::Warn,
            r#"{"level":"warn","message":"late","error":"timeout","pid":12345}"#,
        ),
        line(
            at,
            Level::Info,
            r#"{"message":"Plugin spawned: hello-plugin (PID: Some(12345))","error":null}"#,
        ),
    ];
    let world = World::with(15, &[(plugin("hello-plugin", 1), lines)]).await?;
    let time = |us: i64| cordwood_core::entry::timestamp_ms(us);
    let expected = json!({
        "logs": [
            {"timestamp": time(at), "level": "Info", "message": "Plugin spawned: hello-plugin (PID: Some(12345))",
             "plugin": "hello-plugin", "error": null, "pid": null},
            {"timestamp": time(at - 1_000_000), "level": "Warn", "message": "late", "plugin": "hello-plugin",
             "error": "timeout", "pid": 12345},
        ],
        "page": 0, "page_size": 100,
    });
    let first = world.get("/api/plugins/hello-plugin/logs").await?;
    ensure!(first.json()? == expected, "{}", first.text());
    ensure!(first.text().starts_with(r#"{"logs":[{"timestamp":""#), "the order of names: {}", first.text());
    for level in ["warn", "WARN", "Warn"] {
        let page =
            world.json(&format!("/api/plugins/hello-plugin/logs?page=0&page_size=1&level={level}")).await?;
        ensure!(messages(&page) == ["late"] && page["page_size"] == 1, "{page}");
    }
    let nobody = world.json("/api/plugins/nobody/logs").await?;
    ensure!(nobody == json!({"logs": [], "page": 0, "page_size": 100}), "{nobody}");
    for (path, parameter) in [
        ("/api/plugins/hello-plugin/logs?level=loud", "level"),
        ("/api/plugins/hello-plugin/logs?page=-1", "page"),
        ("/api/plugins/hello-plugin/logs?page_size=0", "page_size"),
        ("/api/plugins/hello-plugin/logs?page_size=1001", "page_size"),
        ("/api/plugins/hello-plugin/logs?pageSize=5", "pageSize"),
    ] {
        let refused = world.get(path).await?;
        ensure!(
            refused.code == 400 && refused.json()?["parameter"] == parameter,
            "{path}: {}",
            refused.text()
        );
    }
    Ok(())
}

#[tokio::test]
async fn each_line_is_on_one_page_while_others_are_stored() -> Result<()> {
    let at = recent_us();
    let of = |name: &str, from: i64, count: i64| -> Vec<Line> {
        // Many lines of one moment.
        (from..from + count).map(|n| line(at + n / 40 * 1_000, Level::Info, format!("{name} {n}"))).collect()
    };
    let sources = [(plugin("hello", 1), of("hello", 0, 730)), (plugin("other", 2), of("other", 0, 300))];
    let world = World::with(15, &sources).await?;
    let path = |page: usize| format!("/api/plugins/hello/logs?page={page}&page_size=50");
    let (mut seen, mut number) = (Vec::new(), 0);
    loop {
        let page = world.json(&path(number)).await?;
        ensure!(page["page"] == number, "{page}");
        if number == 3 {
            put(&world.store, &[(plugin("hello", 3), of("new", 100_000, 120))]).await?;
        }
        let lines = messages(&page);
        let is_last = lines.len() < 50;
        seen.extend(lines);
        number += 1;
        if is_last {
            break;
        }
    }
    let once: BTreeSet<&String> = seen.iter().collect();
    ensure!(
        seen.len() == 730 && once.len() == 730 && number == 15,
        "{} of {} on {number}",
        once.len(),
        seen.len()
    );
    let newest = world.json(&path(0)).await?;
    ensure!(messages(&newest).iter().all(|line| line.starts_with("new ")), "{newest}");
    // Without the pages before, and behind the last.
    let jumped = world.json("/api/plugins/hello/logs?page=16&page_size=51").await?;
    ensure!(messages(&jumped).len() == 850 - 16 * 51, "{jumped}");
    let beyond = world.json("/api/plugins/hello/logs?page=1000000&page_size=1000").await?;
    ensure!(messages(&beyond).is_empty() && beyond["page"] == 1_000_000, "{beyond}");
    Ok(())
}

#[tokio::test]
async fn a_plugin_of_another_tenant_is_one_that_nobody_knows() -> Result<()> {
    let at = recent_us();
    let theirs = Origin { plugin: "hello".into(), ..container("other", "theirs", 1) };
    let access = tokens("tokens: [{name: acme, token: 0123456789abcdef0123, tenants: [acme]}]")?;
    let sources = [
        (theirs, vec![line(at, Level::Info, "theirs")]),
        (plugin("mine", 2), vec![line(at, Level::Info, "mine")]),
    ];
    let world = World::start(15, &sources, access, Limits::default()).await?;
    let page = world.get_as("0123456789abcdef0123", "/api/plugins/hello/logs").await?.json()?;
    ensure!(page == json!({"logs": [], "page": 0, "page_size": 100}), "{page}");
    let page = world.get_as("0123456789abcdef0123", "/api/plugins/mine/logs").await?.json()?;
    ensure!(messages(&page) == ["mine"], "{page}");
    Ok(())
}
