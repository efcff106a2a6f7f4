//! Levels and retentions over HTTP: what is asked for is in force without a restart, and stands in the folder.

use anyhow::{Context, Result, ensure};
use cordwood_tests::http::{Answer, send};

use crate::harness::{Folder, text};

/// One answer, of a part that runs beside the test.
fn ask(address: &str, method: &str, path: &str, body: &str) -> Result<Answer> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(send(address, method, path, &[], body))
}

#[test]
fn a_level_is_in_force_and_goes_without_a_restart() -> Result<()> {
    let folder = Folder::new()?;
    let path = folder.write("app.log", "")?;
    let by_hand = "# kept by a person\napiVersion: cordwood.dev/v1alpha1\nkind: LogRetentionPolicy\nmetadata: {name: hand}\nspec: {retention: {info: 2h}}\n";
    folder.write("resources/hand.yaml", by_hand)?;
    let running = folder.start(&[
        "standalone",
        text(&path),
        "--service",
        "shop",
        "--resources",
        "resources",
        "--listen",
        "127.0.0.1:0",
    ])?;
    let address = folder.until("the address", || Ok(running.address()), |address| !address.is_empty())?;
    let quiet = r#"{"target": "shop", "level": "ERROR", "ttlSeconds": 600}"#;
    let put = ask(&address, "PUT", "/api/admin/levels", quiet)?;
    ensure!(put.code == 201, "{}", put.text());
    let file = folder.path("resources/api_clusterloglevelconfigs__api-shop-application.yaml");
    ensure!(std::fs::read_to_string(&file)?.contains("level: ERROR"));
    let mut round = 0;
    let mut say = |word: &str| {
        round += 1;
        folder.append("app.log", format!("{{\"level\":\"info\",\"msg\":\"{word}{round}\"}}\n"))?;
        anyhow::Ok(round)
    };
    let totals = folder.until(
        "a line is gated",
        || {
            say("during")?;
            folder.totals()
        },
        |totals| totals["gated"].as_u64() > Some(0),
    )?;
    ensure!(totals["gated"].is_u64());
    let one = ask(&address, "GET", "/api/admin/levels/api-shop-application", "")?.json()?;
    ensure!(one["status"]["conditions"][0]["status"] == "True" && one["status"]["agents"] == "1/1", "{one}");
    // The agent of this process is the one that there is.
    let agents = ask(&address, "GET", "/api/admin/agents", "")?.json()?;
    let agent = &agents["items"][0];
    ensure!(agents["items"].as_array().is_some_and(|items| items.len() == 1), "{agents}");
    ensure!(
        agent["reachable"] == true && agent["files"].as_u64() >= Some(1) && agent["losses"] == 0,
        "{agents}"
    );
    ensure!(agent["rulesGeneration"] == agents["rulesGeneration"] && agent.get("pod").is_none(), "{agents}");
    let gone = ask(&address, "DELETE", "/api/admin/levels/api-shop-application", "")?;
    ensure!(gone.code == 204 && !file.exists(), "{}", gone.text());
    folder.until(
        "lines flow again",
        || {
            let round = say("after")?;
            std::thread::sleep(std::time::Duration::from_millis(500));
            Ok(folder.raw(&[&format!("after{round}")])?.len())
        },
        |found| *found == 1,
    )?;
    // A person's file is shown, with what became of it, and not written.
    let hand = folder.until(
        "the policy's status",
        || ask(&address, "GET", "/api/admin/retention/hand", "")?.json(),
        |hand| hand["status"]["classes"].as_array().is_some_and(|classes| classes.len() == 4),
    )?;
    ensure!(hand["spec"]["retention"]["info"] == "2h", "{hand}");
    let body = r#"{"apiVersion": "cordwood.dev/v1alpha1", "kind": "LogRetentionPolicy", "spec": {"retention": {"info": "3h"}}}"#;
    let put = ask(&address, "PUT", "/api/admin/retention/hand", body)?;
    ensure!(put.code == 409 && put.text().contains("hand.yaml"), "{}", put.text());
    ensure!(std::fs::read_to_string(folder.path("resources/hand.yaml")).context("read")? == by_hand);
    ensure!(running.interrupt()? == 0);
    Ok(())
}
