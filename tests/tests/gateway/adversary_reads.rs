//! The same, by what is read: other places for a token, other names of namespaces, what answers say beside records, tasks, files, and what is
//! told of who looked.

use anyhow::{Context as _, Result, ensure};
use cordwood_tests::http::ask;
use serde_json::{Value, json};

use super::adversary::{Attack, SECRET, holds, lines, refused};
use super::web_socket::Socket;
use super::world::encoded;

pub(super) async fn other_places_for_a_token_or_a_right(attack: &Attack) -> Result<()> {
    let (address, reader) = (&attack.world.address, &attack.reader);
    let bearer = format!("Bearer {reader}");
    let bank = "/api/platform/logs?namespace=bank";
    for more in [
        ("Impersonate-User", "system:admin"),
        ("Impersonate-Group", "system:masters"),
        ("Impersonate-Extra-scopes", "x"),
        ("X-Remote-User", "system:admin"),
        ("X-Remote-Group", "system:masters"),
        ("X-Forwarded-User", "system:admin"),
        ("X-Forwarded-Email", "admin@example.com"),
        ("X-Auth-Request-User", "system:admin"),
        ("X-Forwarded-Access-Token", reader),
        ("X-Scope-OrgID", "quince-tenant"),
        ("X-Forwarded-For", "127.0.0.1"),
        ("X-Forwarded-Host", "localhost"),
        ("X-Real-IP", "127.0.0.1"),
        ("Forwarded", "for=127.0.0.1;host=localhost"),
        ("X-Original-URL", "/api/admin/agents"),
        ("X-Rewrite-URL", "/api/admin/agents"),
        ("X-HTTP-Method-Override", "DELETE"),
        ("Range", "bytes=0-1"),
        ("Cookie", "__Host-cordwood-0=x"),
        ("Host", "localhost"),
        ("Transfer-Encoding", "identity"),
        ("Connection", "Authorization"),
        ("Prefer", "tenant=quince-tenant"),
        ("X-Tenant", "quince-tenant"),
    ] {
        let answer = attack.with(reader, "GET", bank, &[more]).await?;
        holds(more.0, &answer)?;
        let alone = ask(address, "GET", "/api/platform/logs", &[more]).await?;
        refused(more.0, &alone, &[400, 401])?;
    }
    for query in ["access_token", "token", "authorization", "bearer", "ticket", "id_token"] {
        let path = format!("/api/platform/logs/stream?{query}={reader}");
        let refusal = Socket::connect_to(address, &path, &[]).await?.err().context("it is open")?;
        ensure!(refusal.to_string().contains("401"), "{refusal}");
    }
    let base64url = format!("base64url.bearer.authorization.k8s.io.{}", reader.replace('.', ""));
    for protocol in [
        format!("cordwood.v1, bearer.{reader}"),
        base64url,
        format!("cordwood.ticket.{reader}"),
        format!("cordwood.v1, {reader}"),
        format!("cordwood.v1, access_token, {reader}"),
        "cordwood.ticket.".to_owned(),
        "cordwood.v2".to_owned(),
    ] {
        let headers = [("sec-websocket-protocol", protocol.as_str())];
        let refusal = Socket::connect(address, &headers).await?.err().context("it is open")?;
        ensure!(refusal.to_string().contains("401"), "{protocol}: {refusal}");
    }
    // One ticket is one socket, with what its holder sees and no more.
    let ticket = attack.send(reader, "POST", "/api/ticket", "").await?.json()?["ticket"]
        .as_str()
        .context("no ticket")?
        .to_owned();
    let protocol = format!("cordwood.v1, cordwood.ticket.{ticket}");
    let headers = [("sec-websocket-protocol", protocol.as_str()), ("origin", "https://evil.example")];
    let mut socket = Socket::connect(address, &headers).await??;
    socket.say(json!({"type": "start", "credit": 100, "filter": "namespace=bank OR namespace=shop", "after": "1.0-0-0"})).await?;
    let hello = socket.expect("hello").await?;
    ensure!(hello["scope"]["namespaces"] == json!(["shop"]), "{hello}");
    let shown = socket.records(3).await?.0;
    ensure!(shown.iter().all(|message| message.starts_with("apple")), "{shown:?}");
    let mut changed = ticket.clone();
    changed.replace_range(0..1, if changed.starts_with('A') { "B" } else { "A" });
    for ticket in [ticket.clone(), changed, format!("{ticket}A"), ticket[..ticket.len() - 4].to_owned()] {
        let protocol = format!("cordwood.v1, cordwood.ticket.{ticket}");
        let refusal = Socket::connect(address, &[("sec-websocket-protocol", protocol.as_str())])
            .await?
            .err()
            .context("it is open")?;
        ensure!(refusal.to_string().contains("401"), "{refusal}");
    }
    // Both an own token and another's ticket, or two tokens.
    let twice = [("Authorization", bearer.as_str()), ("Authorization", "Bearer x")];
    refused("two tokens", &ask(address, "GET", bank, &twice).await?, &[401])?;
    Ok(())
}

pub(super) async fn other_names_of_namespaces(attack: &Attack) -> Result<()> {
    let names = [
        "bank",
        "BANK",
        "bank%00",
        "bank%20",
        "%20bank",
        "b%61nk",
        "shop,bank",
        "shop|bank",
        "shop%20OR%20bank",
        "*",
        "%25",
        "ba_k",
        "",
        "shop%2fbank",
        "shop&namespace=bank",
        "bank&namespace=shop",
        "bank&tenant=acme",
        "shop&tenant=quince-tenant",
        "%E2%80%8Bbank",
        "bank%0d%0aX:y",
        "%EF%BD%82ank",
    ];
    for path in ["logs", "logs/histogram", "logs/facets", "logs/aggregates"] {
        for name in names {
            let path = format!("/api/platform/{path}?namespace={name}");
            let answer = attack.with(&attack.reader, "GET", &path, &[]).await?;
            let text = answer.text();
            let leaks = ["quince broke", "quinceError", "quince-service", "quince-pod", "quince-trace"];
            ensure!(answer.code < 500 && !leaks.iter().any(|leak| text.contains(leak)), "{path}: {text}");
        }
    }
    // Many names: those that may be asked for are, and no more.
    let many: String = (0..201).map(|n| format!("&namespace=n{n}")).collect();
    refused(
        "many",
        &attack.with(&attack.reader, "GET", &format!("/api/platform/logs?namespace=bank{many}"), &[]).await?,
        &[400],
    )?;
    Ok(())
}

/// Counts, groups, completions, texts of mistakes, what is not told to others.
pub(super) async fn what_answers_say_beside_records(attack: &Attack) -> Result<()> {
    let all = "from=1970-01-01T00:00:00Z&budgetMs=10";
    for budget in ["budgetMs=10", "budgetMs=5000"] {
        for path in [
            "histogram?",
            "facets?field=service&field=tenant&field=namespace&field=pod&field=node&field=plugin&",
            "aggregates?",
            "aggregates?text=quince&",
            "aggregates?newSince=-1h&",
            "aggregates?newSince=now&",
            "completion?text=service%3D&",
            "completion?text=service%3Dq&",
            "completion?text=tenant%3D&",
            "completion?text=namespace%3Db&",
            "completion?text=traceId%3Dq&",
            "completion?text=errorType%3Dq&",
            "?filter=message+LIKE+%22%25quince%25%22&",
            "?filter=service%3Aquince%2A&",
            "?filter=NOT+service%3Dapple-service&",
            "?filter=tenant+IN+%28%22acme%22%2C%22quince-tenant%22%29&",
        ] {
            let range =
                if path.starts_with("aggregates") { "from=-24h" } else { &format!("from=-24h&{budget}") };
            let path = format!("/api/platform/logs/{path}{range}").replace("logs/?", "logs?");
            let answer = attack.with(&attack.reader, "GET", &path, &[]).await?;
            ensure!(answer.code == 200, "{path}: {}", answer.text());
            ensure!(
                !answer.text().replace("%quince%", "").replace("quince*", "").contains(SECRET),
                "{path}: {}",
                answer.text()
            );
        }
    }
    let counted =
        attack.with(&attack.reader, "GET", &format!("/api/platform/logs/histogram?{all}"), &[]).await?;
    ensure!(counted.code == 200 || counted.code == 400, "{}", counted.text());
    let counted =
        attack.with(&attack.reader, "GET", "/api/platform/logs/histogram?from=-1h", &[]).await?.json()?;
    ensure!(counted["records"] == 3, "{counted}");
    // The signature of an error that others alone have: as one that is nowhere.
    let theirs = cordwood_core::signature::error_group(lines(0, "quince")[0].body.as_bytes());
    let signature = theirs.signature;
    let nowhere =
        attack.with(&attack.reader, "GET", "/api/platform/logs/aggregates/v1:00000000000000ff", &[]).await?;
    let there = attack
        .with(&attack.reader, "GET", &format!("/api/platform/logs/aggregates/{signature}"), &[])
        .await?;
    ensure!(there.code == 404 && there.body == nowhere.body, "{}", there.text());
    // Metrics and status are no routes of the API.
    for path in ["/metrics", "/status", "/healthz", "/readyz", "/debug", "/api/metrics", "/api/../metrics"] {
        let answer = attack.with(&attack.reader, "GET", path, &[]).await?;
        holds(path, &answer)?;
    }
    for (accept, query) in
        [("text/csv", "limit=1"), ("application/x-ndjson", "limit=2&order=oldest"), ("text/plain", "")]
    {
        let path = format!("/api/platform/logs?{query}");
        let answer =
            attack.with(&attack.reader, "GET", &path, &[("Accept", accept), ("Range", "bytes=0-10")]).await?;
        ensure!(answer.code == 200, "{path}: {}", answer.text());
        holds(accept, &answer)?;
    }
    Ok(())
}

pub(super) async fn tasks_of_others(attack: &Attack) -> Result<()> {
    let reader = &attack.reader;
    for path in ["logs", "logs/stats", "logs/sources"] {
        for query in ["", "?namespace=shop"] {
            let answer = attack.with(reader, "GET", &format!("/api/tasks/job/{path}{query}"), &[]).await?;
            ensure!(answer.code == 200, "{path}: {}", answer.text());
            holds(path, &answer)?;
        }
        for (query, id) in [
            ("?namespace=bank", "job"),
            ("?namespace=", "job"),
            ("", "%6aob%00"),
            ("", "JOB"),
            ("?namespace=bank", "..%2fjob"),
        ] {
            let answer = attack.with(reader, "GET", &format!("/api/tasks/{id}/{path}{query}"), &[]).await?;
            refused(&format!("{id} {path} {query}"), &answer, &[400, 404])?;
        }
    }
    for (method, path) in [
        ("DELETE", "job"),
        ("DELETE", "job?namespace=bank"),
        ("DELETE", "job?namespace=shop"),
        ("PUT", "new?namespace=bank"),
        ("PUT", "new?namespace=shop&tenant=quince-tenant"),
        ("PUT", "new"),
        ("PUT", "job?namespace=shop"),
    ] {
        refused(path, &attack.with(reader, method, &format!("/api/tasks/{path}"), &[]).await?, &[400, 404])?;
    }
    // A caller who announces tasks of a namespace makes no other tenant's task one of two.
    let announce =
        async |query: &str| attack.with(&attack.keeper, "PUT", &format!("/api/tasks/{query}"), &[]).await;
    refused("another's", &announce("job?namespace=shop&tenant=quince-tenant").await?, &[404])?;
    let theirs = attack.with(&attack.other, "GET", "/api/tasks/job/logs?namespace=bank", &[]).await?;
    ensure!(theirs.code == 200 && theirs.text().contains("quince broke"), "{}", theirs.text());
    for (query, code) in [
        ("job?namespace=shop&tenant=acme", 200),
        ("new?namespace=shop&tenant=acme", 201),
        ("new?namespace=shop", 201),
        ("new?namespace=shop&tenant=nobody", 404),
    ] {
        let answer = announce(query).await?;
        ensure!(answer.code == code, "{query}: {}", answer.text());
    }
    Ok(())
}

pub(super) async fn files_of_the_interface(attack: &Attack) -> Result<()> {
    for path in [
        "/../Cargo.toml",
        "/%2e%2e/Cargo.toml",
        "/..%2fCargo.toml",
        "/assets/../../Cargo.toml",
        "/assets/..%2f..%2fpackage.json",
        "/assets/%2e%2e/%2e%2e/package.json",
        "//etc/passwd",
        "/..\\Cargo.toml",
        "/%5c..%5cCargo.toml",
        "/etc/passwd",
        "/%00",
        "/index.html%00.js",
        "/index.html.br",
        "/assets/",
        "/assets",
        "/.git/config",
        "/file:///etc/passwd",
        "/assets//../index.html",
        "/././package.json",
        "/%252e%252e/package.json",
        "/C:/x",
        "/api",
        "/api/",
        "/ws/x",
        "/API/whoami",
        "/metrics/../index.html",
        "/src/main.ts",
        "/package.json",
        "/.vite/manifest.json",
    ] {
        for more in [
            &[][..],
            &[("Accept", "text/html")],
            &[("Accept-Encoding", "br"), ("Range", "bytes=0-5")],
            &[("Host", "evil.example")],
        ] {
            let answer = ask(&attack.world.address, "GET", path, more).await?;
            let text = answer.text();
            ensure!(answer.code < 500, "{path}: {}", answer.code);
            for other in ["[package]", "[workspace", "root:", "\"dependencies\"", "[core]"] {
                ensure!(!text.contains(other), "{path}: {text}");
            }
            if answer.code == 200 {
                ensure!(
                    answer.headers.get("content-type").is_some_and(|kind| kind.starts_with("text/html")),
                    "{path}: {:?}",
                    answer.headers
                );
                ensure!(answer.headers.contains_key("content-security-policy"), "{path}");
                ensure!(!text.contains("evil.example"), "{path}");
            }
        }
    }
    Ok(())
}

/// What was asked stands in one line each, whatever it holds.
pub(super) async fn who_looked_is_told_as_it_was(attack: &Attack) -> Result<()> {
    let forged = encoded("a\n{\"is_audit\":true,\"userId\":\"forged\"}\r\u{2028}");
    for path in [
        format!("/api/platform/logs?text={forged}"),
        format!("/api/admin/levels/{forged}?namespace=shop"),
        format!("/api/tasks/{forged}/logs"),
        format!("/api/plugins/{forged}/logs"),
        format!("/api/platform/logs?filter={forged}"),
        format!("/api/platform/logs?pad={}", "p".repeat(6_000)),
    ] {
        holds(&path, &attack.with(&attack.reader, "GET", &path, &[]).await?)?;
    }
    let body = json!({"namespace": "shop", "level": "ERROR", "ttlSeconds": 60, "target": "a\n{\"userId\":\"forged\"}"});
    let answer = attack.send(&attack.levels, "PUT", "/api/admin/levels", &body.to_string()).await?;
    ensure!([201, 422].contains(&answer.code), "{}", answer.text());
    let told = attack.told.lock().ok().context("poisoned")?.clone();
    for line in told.lines() {
        let line: Value = serde_json::from_str(line).with_context(|| line.to_owned())?;
        ensure!(line["userId"] != "forged" && line["is_audit"] == true, "{line}");
        let said = line.to_string();
        for token in [&attack.reader, &attack.levels, &attack.editor] {
            ensure!(!said.contains(token.as_str()), "a token is told: {said}");
        }
    }
    Ok(())
}
