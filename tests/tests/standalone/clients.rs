//! What existing clients read of lines in a file, to the letter.

use anyhow::{Result, ensure};
use cordwood_tests::clients::{Clients, hold};
use serde_json::json;

use crate::harness::{Folder, text};

#[test]
fn clients_read_the_lines_of_a_file_as_they_know_them() -> Result<()> {
    let folder = Folder::new()?;
    let path = folder.write("app.log", "")?;
    let running = folder.start(&[
        "standalone",
        text(&path),
        "--service",
        "checkout",
        "--tenant",
        "acme",
        "--listen",
        "127.0.0.1:0",
    ])?;
    let address = folder.until("the address", || Ok(running.address()), |address| !address.is_empty())?;
    let origin = json!({"tenantId": "acme", "tenantSlug": "acme", "service": "checkout", "stream": "stdout"});
    let clients = Clients { address: &address, token: None, origin };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(hold(&clients, async |_, lines| {
        folder.append("app.log", lines.iter().map(|line| format!("{line}\n")).collect::<String>())
    }))?;
    ensure!(running.interrupt()? == 0);
    Ok(())
}
