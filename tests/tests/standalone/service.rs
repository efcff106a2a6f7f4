//! Whose service a line is: what it says of itself, where nobody else says it; and a hint where somebody does.

use anyhow::{Result, ensure};

use crate::harness::{Folder, cri, now_us, pod_file, text};

#[test]
fn a_lines_own_service_is_found_and_an_empty_answer_says_where_it_is() -> Result<()> {
    let folder = Folder::new()?;
    let line = |service: &str| format!(r#"{{"level":"info","msg":"paid","service":"{service}"}}"#);
    // No API server: nobody knows more of this container than its name.
    let file = cri(now_us(), "stdout", "F", line("payments").as_bytes());
    folder.write(&pod_file("pods", "shop", "pay-1", "app"), file)?;
    folder.ok(&["standalone", "--pods-dir", text(&folder.path("pods")), "--until-idle"])?;
    // Of these lines the command line says whose they are.
    let path = folder.write("billing.log", format!("{}\n", line("billing")))?;
    folder.ok(&["standalone", text(&path), "--service", "checkout", "--until-idle"])?;

    let found = folder.json(&["query", "-o", "json", "service:payments"])?;
    ensure!(found.len() == 1 && found[0]["service"] == "payments", "{found:?}");
    ensure!(folder.json(&["query", "-o", "json", "service:app paid"])?.is_empty(), "it has another service");
    let found = folder.json(&["query", "-o", "json", "service=checkout"])?;
    ensure!(found.len() == 1 && found[0]["data"]["service"] == "billing", "{found:?}");

    let empty = folder.ok(&["query", "service:billing"])?;
    ensure!(empty.stdout.is_empty(), "{:?}", empty.stdout);
    ensure!(empty.stderr.contains("search data.service:\"billing\""), "{}", empty.stderr);
    ensure!(empty.stderr.contains("\"checkout\""), "{}", empty.stderr);
    let empty = folder.ok(&["query", "service=CHECKOUT"])?;
    ensure!(empty.stderr.contains("spelled \"checkout\""), "{}", empty.stderr);
    let empty = folder.ok(&["query", "service=PAYMENTS"])?;
    ensure!(empty.stderr.contains("spelled \"payments\""), "{}", empty.stderr);
    let empty = folder.ok(&["query", "service:nobody"])?;
    ensure!(!empty.stderr.contains("search"), "{}", empty.stderr);
    Ok(())
}
