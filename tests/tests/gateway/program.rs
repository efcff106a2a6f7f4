//! The program `cordwood-gateway`: what it says of itself, and that it still answers a caller who is on the way to it when it is told to end.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use cordwood_core::level::Level;
use cordwood_tests::bin;
use cordwood_tests::env::{Program, wait_for};
use cordwood_tests::http::{ask, get};
use rustix::process::Signal;
use serde_json::json;

use super::world::{DATABASE, World, container, line, recent_us};
use cordwood_tests::env::home::Home;
use cordwood_tests::env::ports::Port;

const PATIENCE: Duration = Duration::from_secs(30);
const TOKEN: &str = "0123456789abcdef0123456789abcdef";

#[tokio::test]
async fn it_answers_its_probes_and_goes_on_for_a_while_when_it_is_told_to_end() -> Result<()> {
    let at = recent_us();
    let world =
        World::with(18, &[(container("acme", "shop", 1), vec![line(at, Level::Info, "paid")])]).await?;
    let admin = world.postgres.client().await?;
    let login = "create role g login password 'g' in role cordwood_gateway";
    admin.batch_execute(login).await.context("the gateway's login")?;

    let home = Home::new("gateway")?;
    let (api, probes) = (Port::free()?, Port::free()?);
    let tokens = json!({"tokens": [{"name": "shop", "token": TOKEN, "tenants": ["acme"]}]});
    let (file, tokens_file) = (home.join("gateway.yaml"), home.join("tokens.yaml"));
    std::fs::write(&tokens_file, tokens.to_string())?;
    let url = world.postgres.url_of(DATABASE);
    let superuser = format!("postgres:{}@", world.postgres.password());
    ensure!(url.contains(&superuser), "{url}");
    let config = json!({
        "listen": format!("127.0.0.1:{}", api.number()),
        "probes_listen": format!("127.0.0.1:{}", probes.number()),
        "database": {"url": url.replace(&superuser, "g:g@")},
        "tokens_file": tokens_file,
        // Longer than any test: a second signal ends it.
        "shutdown_delay_ms": 600_000,
    });
    std::fs::write(&file, config.to_string())?;
    let program = Program::new("gateway", bin("cordwood-gateway")?, home.path()).arg("--config").arg(&file);
    let mut program = program.start()?;
    let (api, probes) = (format!("127.0.0.1:{}", api.number()), format!("127.0.0.1:{}", probes.number()));

    wait_for("the gateway to be ready", PATIENCE, || async {
        let (code, said) = get(&probes, "/readyz").await?;
        ensure!(code == 200, "{code} {said}");
        Ok(())
    })
    .await
    .with_context(|| program.log_tail(10))?;
    let bearer = format!("Bearer {TOKEN}");
    let paid = async || -> Result<()> {
        let answer = ask(&api, "GET", "/api/platform/logs", &[("Authorization", &bearer)]).await?;
        ensure!(answer.code == 200 && answer.text().contains("paid"), "{} {}", answer.code, answer.text());
        Ok(())
    };
    paid().await?;
    let (code, said) = get(&probes, "/metrics").await?;
    ensure!(code == 200 && said.contains("cordwood_gateway_requests_total{"), "{said}");
    // The API's own address says nothing of it.
    ensure!(ask(&api, "GET", "/metrics", &[("Authorization", &bearer)]).await?.code == 404);

    program.signal(Signal::TERM)?;
    wait_for("the gateway to say that it ends", PATIENCE, || async {
        let (code, said) = get(&probes, "/readyz").await?;
        ensure!(code == 503 && said.starts_with("ending: "), "{code} {said}");
        Ok(())
    })
    .await?;
    paid().await.context("on the way when it was told to end")?;
    ensure!(get(&probes, "/healthz").await?.0 == 200, "it is no failure");
    program.signal(Signal::TERM)?;
    let status = program.wait(PATIENCE).await?;
    ensure!(status.code() == Some(130), "{status}");
    Ok(())
}
