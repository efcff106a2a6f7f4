//! A token sees what it may and nothing else, on every route; what is forbidden reads as what is not there.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use cordwood_core::level::Level;
use cordwood_core::record::Flags;
use cordwood_gateway::{Access, Limits, Tokens};
use cordwood_tests::env::wait_for;
use cordwood_tests::http::ask;

use super::world::{Line, NO_GROUP, World, container, counted, ids, line, recent_us, tokens};

const TOKENS: &str = "tokens:
- {name: all, token: all-0123456789abcdef, tenants: all, audit: true}
- {name: acme, token: acme-0123456789abcdef, tenants: [acme], audit: true}
- {name: shop, token: shop-0123456789abcdef, tenants: all, namespaces: [shop]}
- {name: both, token: both-0123456789abcdef, tenants: [acme], namespaces: [shop], audit: true}
- {name: other, token: other-0123456789abcdef, tenants: [nobody]}
";

struct Stored {
    tenant: &'static str,
    namespace: &'static str,
    audit: bool,
    id: String,
}

#[tokio::test]
async fn a_token_sees_what_it_may_and_nothing_else() -> Result<()> {
    let at = recent_us();
    let places =
        [("acme", "shop"), ("acme", "bank"), ("umbrella", "shop"), ("umbrella", "lab"), ("acme", "")];
    let (mut sources, mut stored) = (Vec::new(), Vec::new());
    for (number, (tenant, namespace)) in (0u32..).zip(places) {
        let time_us = at + i64::from(number);
        let lines = vec![
            line(time_us, Level::Warn, format!("secret of {tenant} {namespace}")),
            Line {
                flags: Flags::AUDIT,
                ..line(time_us, Level::Error, r#"{"is_audit":true,"message":"secret"}"#)
            },
        ];
        sources.push((container(tenant, namespace, number), lines));
        for audit in [false, true] {
            let id = format!("{time_us}.0-{number}-{}", u8::from(audit));
            stored.push(Stored { tenant, namespace, audit, id });
        }
    }
    let world = World::start(15, &sources, tokens(TOKENS)?, Limits::default()).await?;
    type May = fn(&Stored) -> bool;
    let callers: [(&str, May); 5] = [
        ("all", |_| true),
        ("acme", |record| record.tenant == "acme"),
        ("shop", |record| record.namespace == "shop" && !record.audit),
        ("both", |record| record.tenant == "acme" && record.namespace == "shop"),
        ("other", |_| false),
    ];
    for (name, may) in callers {
        let token = format!("{name}-0123456789abcdef");
        let mut expected: Vec<&str> =
            stored.iter().filter(|record| may(record)).map(|record| record.id.as_str()).collect();
        expected.sort_unstable();
        // Whatever is asked: also what names others, and what asks for everything in other words.
        for query in [
            "",
            "filter=secret",
            "filter=NOT+tenant%3Dnobody",
            "filter=tenant:*",
            "order=oldest",
            "filter=-nothing",
        ] {
            let answer = world.get_as(&token, &format!("/api/platform/logs?{query}")).await?;
            let mut found = ids(&answer.json()?);
            found.sort_unstable();
            ensure!(found == expected, "{name}: {query}: {found:?}, expected {expected:?}");
            let headers =
                [("Authorization", format!("Bearer {token}")), ("Accept", "application/x-ndjson".to_owned())];
            let headers: Vec<(&str, &str)> =
                headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
            let export = ask(&world.address, "GET", &format!("/api/platform/logs?{query}"), &headers).await?;
            ensure!(export.text().lines().count() == expected.len() + 1, "{name}: export of {query}");
        }
        let count = expected.len() as u64;
        let histogram = world.get_as(&token, "/api/platform/logs/histogram").await?.json()?;
        ensure!(histogram["records"] == count, "{name}: {histogram}");
        for query in ["", "?text=secret", "?tenant=acme&tenant=umbrella", "?from=-1h&sort=firstSeen"] {
            let groups = world.get_as(&token, &format!("/api/platform/logs/aggregates{query}")).await?;
            ensure!(counted(&groups.json()?) == count, "{name}: {query}: {}", groups.text());
        }
        let facets = world.get_as(&token, "/api/platform/logs/facets?field=tenant&field=namespace").await?;
        for record in &stored {
            let is_known = stored.iter().any(|known| may(known) && known.tenant == record.tenant);
            ensure!(
                facets.text().contains(&format!("{:?}", record.tenant)) == is_known,
                "{name}: {}",
                facets.text()
            );
        }
        for record in &stored {
            for path in [
                format!("/api/platform/logs/{}", record.id),
                format!("/api/platform/logs/{}/context", record.id),
            ] {
                let answer = world.get_as(&token, &path).await?;
                if may(record) {
                    ensure!(answer.code == 200, "{name}: {path}: {}", answer.text());
                    let text = answer.text();
                    let others = stored.iter().filter(|other| !may(other));
                    ensure!(!others.into_iter().any(|other| text.contains(&other.id)), "{name}: {text}");
                } else {
                    let nowhere = world.get_as(&token, "/api/platform/logs/1.0-0-0").await?;
                    ensure!(
                        answer.code == 404 && answer.body == nowhere.body,
                        "{name}: {path}: {}",
                        answer.text()
                    );
                }
            }
        }
        let me = world.get_as(&token, "/api/whoami").await?.json()?;
        ensure!(me["name"] == name && me["knownBy"] == "token", "{me}");
    }
    let me = world.get_as("both-0123456789abcdef", "/api/whoami").await?.json()?;
    ensure!(me["tenants"][0] == "acme" && me["namespaces"][0] == "shop" && me["more"].is_string(), "{me}");
    Ok(())
}

#[tokio::test]
async fn nobody_is_let_in_without_a_token_on_any_route() -> Result<()> {
    let world = World::start(15, &[], tokens(TOKENS)?, Limits::default()).await?;
    let document: serde_json::Value = serde_json::from_str(&cordwood_gateway::openapi_json())?;
    let paths = document["paths"].as_object().context("no paths")?;
    ensure!(paths.len() >= 6, "{} paths", paths.len());
    let operations = paths.iter().flat_map(|(path, item)| {
        // (What leads to a login is for everybody.)
        let asks_who = |operation: &serde_json::Value| operation["security"].to_string().contains("token");
        let item = item.as_object().into_iter().flatten().filter(move |(_, operation)| asks_who(operation));
        item.map(move |(method, _)| (path, method))
    });
    for (path, method) in operations {
        let method = method.to_uppercase();
        let path = path.replace("{id}", "1.0-0-0").replace("{task_id}", "t").replace("{name}", "default");
        let path = path.replace("{signature}", NO_GROUP);
        for headers in [
            vec![],
            vec![("Authorization", "Bearer wrong-0123456789abcdef")],
            vec![("Authorization", "Basic YWxsOg==")],
            vec![("X-Scope-OrgID", "acme"), ("X-Tenant-Id", "acme")],
        ] {
            let answer = ask(&world.address, &method, &path, &headers).await?;
            ensure!(answer.code == 401, "{method} {path} {headers:?}: {}", answer.code);
            ensure!(answer.headers["www-authenticate"].starts_with("Bearer"), "{answer:?}");
        }
        // A stream does not end by itself.
        if path.ends_with("/stream") {
            continue;
        }
        // With a token other names than localhost are answered.
        let named = [("Authorization", "Bearer all-0123456789abcdef"), ("Host", "logs.example.com")];
        let answer = ask(&world.address, &method, &path, &named).await?;
        // (This one answers a WebSocket alone.)
        let expected: &[u16] = if path == "/ws/monitor" { &[400] } else { &[200, 201, 404] };
        ensure!(expected.contains(&answer.code), "{path}: {}", answer.text());
    }
    let metrics = world.metrics()?;
    ensure!(metrics.contains(r#"cordwood_gateway_refused_total{reason="caller"}"#), "{metrics}");
    Ok(())
}

#[tokio::test]
async fn without_tokens_only_this_machine_is_served() -> Result<()> {
    let mut world = World::with(15, &[]).await?;
    for (host, code) in
        [("localhost", 200), ("127.0.0.1:1", 200), ("[::1]", 200), ("evil.example", 403), ("10.1.2.3", 403)]
    {
        let answer = ask(&world.address, "GET", "/api/platform/logs", &[("Host", host)]).await?;
        ensure!(answer.code == code, "{host}: {}", answer.code);
    }
    let gateway = cordwood_gateway::Gateway::new(
        world.store.clone(),
        cordwood_gateway::Access::Loopback,
        &Limits::default(),
        &prometheus::Registry::new(),
    )?;
    let refused = cordwood_gateway::start(gateway, "0.0.0.0:0".parse()?).await;
    ensure!(refused.is_err_and(|error| error.to_string().contains("file of tokens")));
    world.stop().await;
    ensure!(world.get("/api/whoami").await.is_err(), "it has ended");
    Ok(())
}

#[tokio::test]
async fn a_file_of_tokens_that_changed_is_read_again() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (file, next) = (folder.path().join("tokens.yaml"), folder.path().join("next"));
    let (old, new) = ("0123456789abcdef", "fedcba9876543210");
    // In one step, as a mounted Secret changes.
    let write = |text: &str| -> Result<()> {
        std::fs::write(&next, text)?;
        Ok(std::fs::rename(&next, &file)?)
    };
    let holding = |token: &str| format!("tokens: [{{name: anna, token: {token}, tenants: all}}]");
    write(&holding(old))?;
    let world = World::start(15, &[], Access::Tokens(Tokens::read(&file)?), Limits::default()).await?;
    let code = async |token: &str| Ok::<_, anyhow::Error>(world.get_as(token, "/api/whoami").await?.code);
    ensure!(code(old).await? == 200 && code(new).await? == 401);
    write("tokens: [{name: anna, token: short, tenants: all}]")?;
    wait_for("the broken file to be told", Duration::from_secs(30), async || {
        ensure!(world.metrics()?.contains("cordwood_gateway_tokens_file_broken 1"));
        Ok(())
    })
    .await?;
    ensure!(code(old).await? == 200, "what it said before holds");
    write(&holding(new))?;
    wait_for("the changed file to be read", Duration::from_secs(30), async || {
        ensure!(code(new).await? == 200);
        Ok(())
    })
    .await?;
    ensure!(code(old).await? == 401);
    ensure!(world.metrics()?.contains("cordwood_gateway_tokens_file_broken 0"));
    Ok(())
}
