//! The custom resources on the real API server: definitions are taken, good examples too, each bad one is refused with the
//! advice that its first line quotes. And what is committed is what is generated.

#![allow(clippy::print_stdout)] // Each refusal, for the person who runs it with --nocapture.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use cordwood_crds::{ClusterLogLevelConfig, LogLevelConfig, LogRetentionPolicy, Resources, manifests};
use cordwood_tests::env::ApiServer;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{ApiResource, DeleteParams, Patch, PatchParams};
use kube::{Api, Client, ResourceExt as _};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Name and text of the examples of one kind.
fn examples(folder: &str) -> Result<Vec<(String, String)>> {
    let folder = root().join("crds/examples").join(folder);
    let mut files: Vec<(String, String)> = std::fs::read_dir(&folder)?
        .map(|entry| {
            let path = entry?.path();
            let name = path.file_name().context("a file name")?.to_string_lossy().into_owned();
            Ok((name, std::fs::read_to_string(path)?))
        })
        .collect::<Result<_>>()?;
    files.sort();
    Ok(files)
}

#[test]
fn what_is_committed_is_what_is_generated() -> Result<()> {
    for manifest in manifests() {
        for folder in ["crds/yaml", "charts/cordwood/files/crds"] {
            let path = root().join(folder).join(&manifest.file);
            let committed = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
            assert!(committed == manifest.yaml, "{}: run `cargo xtask generate`", path.display());
        }
    }
    Ok(())
}

/// The rules that a folder's resources meet without an API server are the same ones.
#[test]
fn a_folder_refuses_what_the_api_server_refuses() -> Result<()> {
    for (name, text) in examples("good")? {
        let mut resources = Resources::default();
        resources.add(Path::new(&name), &text);
        assert_eq!(resources.problems, [], "{name}");
        assert_eq!(resources.policies.len() + resources.level_configs.len(), 1, "{name}");
    }
    let mut passed = Vec::new();
    for (name, text) in examples("bad")? {
        let mut resources = Resources::default();
        resources.add(Path::new(&name), &text);
        if resources.problems.is_empty() {
            passed.push(name);
        }
    }
    // What only the schema limits, or the API server's rule for names.
    let allowed = [
        "levels-container.yaml",
        "levels-duration-long.yaml",
        "levels-label-key.yaml",
        "levels-label-value.yaml",
        "levels-push-dots.yaml",
        "levels-push-path.yaml",
        "levels-push-two.yaml",
        "retention-many-tenants.yaml",
        "retention-name-long.yaml",
        "retention-name.yaml",
        "retention-priority.yaml",
    ];
    passed.retain(|name| !allowed.contains(&name.as_str()));
    assert!(passed.is_empty(), "taken from a folder: {passed:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_server_takes_the_good_and_refuses_the_bad() -> Result<()> {
    let server = ApiServer::start().await?;
    let client = server.client().await?;
    install(&client).await?;
    for (name, text) in examples("good")? {
        create(&client, &text).await.with_context(|| name.clone())?;
    }
    defaults(&client).await?;
    let bad = examples("bad")?;
    assert!(bad.len() >= 60, "only {} bad examples", bad.len());
    let (mut wrong, mut said) = (Vec::new(), Vec::new());
    for (name, text) in bad {
        let expected =
            text.lines().next().and_then(|line| line.strip_prefix("# refused: ")).with_context(|| {
                format!("{name}: the first line must be `# refused: <part of the message>`")
            })?;
        match create(&client, &text).await {
            Ok(()) => wrong.push(format!("{name}: was taken")),
            Err(error) => {
                let message = format!("{error:#}");
                said.push(format!("{name:34} {}", message.lines().next().unwrap_or_default()));
                if !message.contains(expected) {
                    wrong.push(format!("{name}: the answer is {message}, not {expected}"));
                }
            }
        }
    }
    println!("{}", said.join("\n"));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    explained(&server)?;
    Ok(())
}

/// Applies the definitions and waits until they are served.
async fn install(client: &Client) -> Result<()> {
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    for manifest in manifests() {
        let name = manifest.crd.name_any();
        let applied =
            api.patch(&name, &PatchParams::apply("test").force(), &Patch::Apply(&manifest.crd)).await;
        applied.with_context(|| format!("apply {name}"))?;
    }
    let policies: Api<LogRetentionPolicy> = Api::all(client.clone());
    let configs: Api<LogLevelConfig> = Api::all(client.clone());
    let cluster: Api<ClusterLogLevelConfig> = Api::all(client.clone());
    for _ in 0..200 {
        if policies.list(&Default::default()).await.is_ok()
            && configs.list(&Default::default()).await.is_ok()
            && cluster.list(&Default::default()).await.is_ok()
        {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    // A structural schema that the server doubts says so in a condition.
    for definition in api.list(&Default::default()).await? {
        let conditions = definition.status.and_then(|status| status.conditions).unwrap_or_default();
        for condition in conditions {
            let good = match condition.type_.as_str() {
                "NonStructuralSchema" => condition.status == "False",
                _ => condition.status == "True",
            };
            assert!(good, "{condition:?}");
        }
    }
    Ok(())
}

/// As `kubectl create` does: unknown fields are refused.
async fn create(client: &Client, text: &str) -> Result<()> {
    let value: serde_json::Value = serde_yaml::from_str(text)?;
    let resource = match value["kind"].as_str() {
        Some("LogRetentionPolicy") => ApiResource::erase::<LogRetentionPolicy>(&()),
        Some("LogLevelConfig") => ApiResource::erase::<LogLevelConfig>(&()),
        Some("ClusterLogLevelConfig") => ApiResource::erase::<ClusterLogLevelConfig>(&()),
        other => bail!("kind {other:?}"),
    };
    let namespace = match value["metadata"]["namespace"].as_str() {
        Some(namespace) => format!("namespaces/{namespace}/"),
        None => String::new(),
    };
    let path =
        format!("/apis/{}/{namespace}{}?fieldValidation=Strict", resource.api_version, resource.plural);
    let request = http::Request::post(path)
        .header("content-type", "application/json")
        .body(serde_json::to_vec(&value)?)?;
    client.request::<serde_json::Value>(request).await?;
    Ok(())
}

/// What is left out is filled in by the server.
async fn defaults(client: &Client) -> Result<()> {
    let api: Api<LogRetentionPolicy> = Api::all(client.clone());
    let policy = api.get("all-defaults").await?;
    let value = serde_json::to_value(&policy.spec)?;
    assert_eq!(value["retention"]["error"], "30d");
    assert_eq!(value["retention"]["debug"], "1d");
    assert_eq!(value["gracePeriod"], "24h");
    assert_eq!(value["dropLimit"]["bytes"], "50Gi");
    let built_in = cordwood_core::retention::Policy::builtin();
    let read = policy.to_policy().map_err(|problems| anyhow::anyhow!("{problems:?}"))?;
    assert_eq!((read.retention_us, read.grace_us), (built_in.retention_us, built_in.grace_us));
    // Left out it stays so: what dropLimit says is what one pass detaches, also when that is changed later.
    assert_eq!(
        (&value["detachPerPass"], read.detach_max()),
        (&serde_json::Value::Null, built_in.detach_max())
    );
    let gentle = api.get("gentle").await?.to_policy().map_err(|problems| anyhow::anyhow!("{problems:?}"))?;
    assert_eq!((gentle.drop_limit.partitions, gentle.detach_max()), (1_000, 2));
    api.delete("default", &DeleteParams::default()).await?;
    let configs: Api<LogLevelConfig> = Api::namespaced(client.clone(), "default");
    let fields = serde_json::to_value(configs.get("quiet-checkout").await?.spec)?;
    assert_eq!((&fields["unleveled"], &fields["scope"]), (&"keep".into(), &"application".into()));
    let cluster: Api<ClusterLogLevelConfig> = Api::all(client.clone());
    assert!(!cluster.get("quiet-everywhere").await?.spec.default);
    Ok(())
}

/// `kubectl explain` shows the docs; `kubectl get` the columns.
fn explained(server: &ApiServer) -> Result<()> {
    let kubectl = |arguments: &[&str]| -> Result<String> {
        let output = std::process::Command::new("kubectl")
            .arg("--kubeconfig")
            .arg(server.kubeconfig())
            .args(arguments)
            .output()
            .context("run kubectl")?;
        if !output.status.success() {
            bail!("kubectl {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let text = kubectl(&["explain", "logretentionpolicy.spec.gracePeriod"])?;
    assert!(text.contains("How long a partition that was detached can still come back"), "{text}");
    let text = kubectl(&["explain", "lrp.spec.detachPerPass"])?;
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains("one pass of the operator detaches at the most"), "{text}");
    let text = kubectl(&["get", "lrp"])?;
    assert!(text.contains("PRIORITY") && text.contains("STATUS") && text.contains("shops"), "{text}");
    let text = kubectl(&["get", "llc"])?;
    assert!(text.contains("AGENTS") && text.contains("quiet-checkout"), "{text}");
    let text = kubectl(&["get", "cllc"])?;
    assert!(text.contains("DEFAULT") && text.contains("task-default"), "{text}");
    let text = kubectl(&["explain", "cllc.spec.default"])?;
    assert!(text.contains("wherever no other level config of its scope is"), "{text}");
    let text = kubectl(&["explain", "llc.spec.unleveled"])?;
    assert!(text.contains("Lines whose level is unknown"), "{text}");
    Ok(())
}
