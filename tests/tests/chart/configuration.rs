//! The configuration files that the chart writes, shown to the programs that read them.

use std::process::Command;

use anyhow::{Context, Result};

use super::{FULL, LEAST, NAMESPACE, PARTS, RELEASE, name, of_kind, render};

/// The configuration files that the chart writes are what the programs take: each is shown to its own.
#[test]
fn each_part_takes_the_configuration_that_the_chart_writes() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let certificates = std::fs::read_to_string("/etc/ssl/certs/ca-certificates.crt")?;
    for (file, content) in [
        ("kafka-sasl/password", "x"),
        ("redis/password", "x"),
        ("redis-ca/ca.crt", &certificates),
        ("kafka-tls/ca.crt", ""),
        ("kafka-tls/tls.crt", ""),
        ("kafka-tls/tls.key", ""),
        ("session/key", "0123456789abcdef0123456789abcdef"),
        ("oidc/client-secret", "x"),
        ("oidc-ca/ca.crt", &certificates),
    ] {
        let path = folder.path().join(file);
        std::fs::create_dir_all(path.parent().context("a folder")?)?;
        std::fs::write(path, content)?;
    }
    // How the gateway would reach the API server; nothing is asked there.
    let kubeconfig = folder.path().join("kubeconfig");
    std::fs::write(
        &kubeconfig,
        "{apiVersion: v1, kind: Config, current-context: c, contexts: [{name: c, context: {cluster: c, user: u}}], \
         clusters: [{name: c, cluster: {server: 'https://127.0.0.1:1'}}], users: [{name: u, user: {token: t}}]}",
    )?;
    let mounted = folder.path().to_string_lossy().into_owned();
    for values in [LEAST, FULL] {
        let objects = render(values)?;
        for part in PARTS {
            let map = of_kind(&objects, "ConfigMap")
                .into_iter()
                .find(|m| name(m) == format!("{RELEASE}-cordwood-{part}"))
                .context("its ConfigMap")?;
            let text = map["data"][format!("{part}.yaml")]
                .as_str()
                .context("its file")?
                .replace("/etc/cordwood", &mounted);
            let path = folder.path().join(format!("{part}.yaml"));
            std::fs::write(&path, &text)?;
            let output = Command::new(cordwood_tests::bin(&format!("cordwood-{part}"))?)
                .args(["--check-config", "--config"])
                .arg(&path)
                .envs([("NODE_NAME", "node-1"), ("POD_NAME", "pod-1"), ("POD_NAMESPACE", NAMESPACE)])
                .env("CORDWOOD_DATABASE_URL", "postgresql://u:p@127.0.0.1:1/cordwood")
                .env("KUBECONFIG", &kubeconfig)
                .output()?;
            assert!(
                output.status.success(),
                "{part} refuses\n{text}\n{}",
                String::from_utf8_lossy(&output.stderr)
            );
            // Where no Secret is mounted and no API server is known, the file alone is checked, and that is said.
            if part == "gateway" {
                std::fs::write(&path, text.replace(&mounted, "/nowhere"))?;
                let output = Command::new(cordwood_tests::bin("cordwood-gateway")?)
                    .args(["--check-config", "--config"])
                    .arg(&path)
                    .env("CORDWOOD_DATABASE_URL", "postgresql://u:p@127.0.0.1:1/cordwood")
                    .env("KUBECONFIG", "/nowhere/kubeconfig")
                    .env("HOME", "/nowhere")
                    .env_remove("KUBERNETES_SERVICE_HOST")
                    .output()?;
                let said = String::from_utf8_lossy(&output.stderr).into_owned();
                assert!(output.status.success(), "{said}");
                assert!(said.contains("not checked: access.session_key_file"), "{said}");
                assert!(said.contains("not checked: access.kubernetes"), "{said}");
            }
        }
    }
    Ok(())
}
