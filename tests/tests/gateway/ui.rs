//! The interface that the gateway serves: it comes packed and strictly, is kept by its name, and stands in the way of no route of the API.

use anyhow::{Context, Result, ensure};
use cordwood_tests::http::{Answer, ask};

use super::world::World;

const BROWSER: (&str, &str) =
    ("Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8");

#[tokio::test]
async fn the_interface_is_served_beside_the_api() -> Result<()> {
    let world = World::with(18, &[]).await?;
    let get = async |path: &str, headers: &[(&str, &str)]| -> Result<Answer> {
        ask(&world.address, "GET", path, headers).await
    };
    let page = get("/", &[BROWSER]).await?;
    ensure!(page.code == 200 && page.text().contains("<title>Cordwood</title>"), "{}", page.text());
    let policy = &page.headers["content-security-policy"];
    ensure!(
        policy.starts_with("default-src 'none'") && policy.contains("frame-ancestors 'none'"),
        "{policy}"
    );
    ensure!(!policy.contains("unsafe") && !policy.contains("http"), "{policy}");
    for (name, expected) in [
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
        ("cache-control", "no-cache"),
        ("x-frame-options", "DENY"),
    ] {
        ensure!(page.headers.get(name).is_some_and(|value| value == expected), "{name}: {:?}", page.headers);
    }
    let tag = page.headers["etag"].clone();
    ensure!(get("/", &[BROWSER, ("If-None-Match", &tag)]).await?.code == 304);

    // The addresses of views are the same page; what a program asks for at them is not there.
    for path in ["/errors", "/task/4711", "/task/a.b%2Fc?level=warn"] {
        ensure!(get(path, &[BROWSER]).await?.headers["etag"] == tag, "{path}");
        ensure!(get(path, &[("Accept", "application/json")]).await?.code == 404, "{path}");
    }
    // Nothing of the API is shadowed, no matter who asks.
    for path in ["/api/nothing", "/ws/nothing", "/metrics", "/healthz", "/readyz", "/assets/gone.js"] {
        let answer = get(path, &[BROWSER]).await?;
        ensure!(answer.code == 404 && answer.headers["content-type"] == "application/problem+json", "{path}");
    }
    ensure!(get("/api/whoami", &[BROWSER]).await?.json()?["name"] == "local");
    ensure!(ask(&world.address, "POST", "/", &[BROWSER]).await?.code == 404);

    let html = page.text();
    let script = html.split('"').find(|part| part.starts_with("/assets/") && part.ends_with(".js"));
    let script = script.context("a script of the page")?;
    let plain = get(script, &[]).await?;
    ensure!(plain.headers["content-type"].starts_with("text/javascript"), "{:?}", plain.headers);
    ensure!(plain.headers["cache-control"] == "public, max-age=31536000, immutable", "{:?}", plain.headers);
    for (asked, expected) in [("gzip", "gzip"), ("gzip, deflate, br, zstd", "br")] {
        let packed = get(script, &[("Accept-Encoding", asked)]).await?;
        ensure!(packed.headers["content-encoding"] == expected, "{:?}", packed.headers);
        ensure!(packed.body.len() < plain.body.len() / 2, "{asked}: {} bytes", packed.body.len());
    }

    // A name that somebody made to point here is answered no page.
    let other = get("/", &[BROWSER, ("Host", "evil.example")]).await?;
    ensure!(other.code == 403 || other.code == 400, "{} {}", other.code, other.text());
    Ok(())
}
