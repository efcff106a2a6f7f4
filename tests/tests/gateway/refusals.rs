//! Bad input, each answered in one shape, with what to do; too many at once; PostgreSQL away.

use std::time::Duration;

use anyhow::{Result, ensure};
use cordwood_core::level::Level;
use cordwood_gateway::{Access, Limits};
use cordwood_tests::http::{Answer, ask, open};

use super::world::{DATABASE, FAST, SLOW, World, container, encoded, line, recent_us};

fn is_problem(told: &str, answer: &Answer, code: u16, words: &str) -> Result<()> {
    ensure!(answer.code == code, "{told}: {} {}", answer.code, answer.text());
    ensure!(answer.headers["content-type"] == "application/problem+json", "{told}: {answer:?}");
    let problem = answer.json()?;
    let fields = ["type", "title", "detail"]
        .iter()
        .all(|field| problem[field].as_str().is_some_and(|text| !text.is_empty()));
    ensure!(fields && problem["status"] == code, "{told}: {problem}");
    ensure!(problem.to_string().contains(words), "{told}: {problem}");
    Ok(())
}

#[tokio::test]
async fn what_is_wrong_is_refused_in_one_shape() -> Result<()> {
    let world =
        World::with(15, &[(container("acme", "shop", 1), vec![line(recent_us(), Level::Info, "x")])]).await?;
    let deep = format!("filter={}", encoded(&"(".repeat(5_000)));
    let long = format!("filter={}", "a".repeat(40_000));
    let rows = [
        ("/api/platform/logs?colour=red", 400, "no such parameter"),
        ("/api/platform/logs?filter=level%3E%3Dwran", 400, "\"position\":7"),
        ("/api/platform/logs?filter=a)", 400, "position"),
        ("/api/platform/logs?filter=message+REGEXP+%22(%22", 400, "position"),
        ("/api/platform/logs?filter=%FF", 400, "UTF-8"),
        ("/api/platform/logs?filter=%00", 400, "NUL"),
        ("/api/platform/logs?tenant=%00", 400, "NUL"),
        ("/api/platform/logs?filter=a&filter=b", 400, "twice"),
        (&format!("/api/platform/logs?{deep}"), 400, "filter"),
        (&format!("/api/platform/logs?{long}"), 400, "filter"),
        ("/api/platform/logs?limit=0", 400, "limit"),
        ("/api/platform/logs?limit=99999999999999999999", 400, "limit"),
        ("/api/platform/logs?limit=-1", 400, "limit"),
        ("/api/platform/logs?budgetMs=0", 400, "budgetMs"),
        ("/api/platform/logs?from=tomorrow", 400, "-15m"),
        ("/api/platform/logs?from=2026-13-41T00:00:00Z", 400, "from"),
        ("/api/platform/logs?from=now&to=now", 400, "not before"),
        ("/api/platform/logs?after=x", 400, "after"),
        ("/api/platform/logs?after=1.0-0-0&before=1.0-0-0", 400, "exclude"),
        ("/api/platform/logs?order=sideways", 400, "newest"),
        ("/api/platform/logs/nonsense", 400, "id"),
        ("/api/platform/logs/%FF", 400, "id"),
        ("/api/platform/logs/1.0-0-0?limit=1", 400, "no such parameter"),
        ("/api/platform/logs/1.0-0-0", 404, "expired"),
        ("/api/platform/logs/-9223372036854775808.ffffffff-ffffffffffffffff-ffffffff", 404, "expired"),
        ("/api/platform/logs/9223372036854775807.0-0-0/context", 404, "expired"),
        ("/api/platform/logs/1.0-0-0/context?before=501", 400, "before"),
        ("/api/platform/logs/histogram?bins=0", 400, "bins"),
        ("/api/platform/logs/facets?field=message", 400, "field"),
        ("/api/platform/logs/facets?values=101", 400, "values"),
        ("/api/platform/log", 404, "openapi"),
        ("/nothing", 404, "openapi"),
        ("/../../etc/passwd", 404, "openapi"),
    ];
    for (path, code, words) in rows {
        is_problem(&path[..path.len().min(80)], &world.get(path).await?, code, words)?;
    }
    for method in ["POST", "PUT", "DELETE", "PATCH"] {
        let answer = ask(&world.address, method, "/api/platform/logs", &[("Content-Length", "0")]).await?;
        is_problem(method, &answer, 405, "openapi")?;
    }
    let answer = ask(&world.address, "GET", "/api/platform/logs", &[("Accept", "image/png")]).await?;
    is_problem("accept", &answer, 406, "text/csv")?;
    let csv = [("Accept", "text/csv")];
    is_problem(
        "before",
        &ask(&world.address, "GET", "/api/platform/logs?before=1.0-0-0", &csv).await?,
        400,
        "after",
    )?;
    // What is odd and not wrong.
    for path in [
        "/api/platform/logs?",
        "/api/platform/logs?filter=",
        "/api/platform/logs?filter=%F0%9F%94%A5",
        "/api/platform/logs?from=-9999-01-01T00:00:00Z",
        "/api/platform/logs?to=9999-12-30T00:00:00Z",
        "/api/platform/logs?after=-9223372036854775808.0-0-0",
        "/api/platform/logs?order=oldest&after=9223372036854775807.0-0-0",
        "/api/platform/logs/histogram?from=-9999-01-01T00:00:00Z&to=9999-12-30T00:00:00Z&bins=1",
    ] {
        let answer = world.get(path).await?;
        ensure!(answer.code == 200 || answer.code == 400, "{path}: {} {}", answer.code, answer.text());
    }
    Ok(())
}

#[tokio::test]
async fn above_the_bound_callers_are_told_to_come_back() -> Result<()> {
    let limits = Limits { queries_max: 2, queries_kept_for_short: 1, ..Limits::default() };
    let sources = [(container("acme", "shop", 1), vec![line(recent_us(), Level::Info, "x")])];
    let world = World::start(15, &sources, Access::Loopback, limits).await?;
    let client = world.postgres.client_of(DATABASE).await?;
    client.batch_execute(SLOW).await?;
    let long = open(&world.address, "GET", "/api/platform/logs?budgetMs=60000", &[]).await?;
    tokio::time::sleep(Duration::from_millis(300)).await;
    // Another long one finds no slot; one that says it is short does.
    let answer = world.get("/api/platform/logs?budgetMs=60000").await?;
    is_problem("long", &answer, 429, "ask again")?;
    ensure!(answer.headers["retry-after"] == "1", "{answer:?}");
    let short = open(&world.address, "GET", "/api/platform/logs?budgetMs=1000", &[]).await?;
    tokio::time::sleep(Duration::from_millis(300)).await;
    is_problem("short", &world.get("/api/platform/logs?budgetMs=1000").await?, 429, "ask again")?;
    ensure!(world.get("/api/whoami").await?.code == 200, "it needs none");
    let metrics = world.metrics()?;
    ensure!(metrics.contains(r#"cordwood_gateway_refused_total{reason="busy"} 2"#), "{metrics}");
    drop((long, short));
    client.batch_execute(FAST).await?;
    // Both slots are free again.
    let answer = cordwood_tests::env::wait_for("a slot", Duration::from_secs(20), async || {
        let answer = world.get("/api/platform/logs").await?;
        ensure!(answer.code == 200, "{}", answer.code);
        Ok(answer)
    });
    ensure!(answer.await?.json()?["items"].as_array().is_some_and(|items| items.len() == 1));
    Ok(())
}

#[tokio::test]
async fn while_postgresql_is_away_callers_are_told_and_afterwards_answered() -> Result<()> {
    let sources = [(container("acme", "shop", 1), vec![line(recent_us(), Level::Info, "x")])];
    let mut world = World::with(15, &sources).await?;
    ensure!(world.get("/api/platform/logs").await?.code == 200);
    world.postgres.kill();
    let answer = world.get("/api/platform/logs").await?;
    is_problem("away", &answer, 503, "try again")?;
    ensure!(answer.headers.contains_key("retry-after") && !answer.text().contains("127.0.0.1"), "{answer:?}");
    world.postgres.restart().await?;
    ensure!(world.get("/api/platform/logs").await?.code == 200);
    Ok(())
}
