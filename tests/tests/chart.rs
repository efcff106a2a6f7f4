//! The chart, judged by Helm and by a real API server: what it renders is accepted, what it must refuse is refused, and each part may do
//! what it needs and no more.

#[path = "chart/configuration.rs"]
mod configuration;
#[path = "chart/namespace_labels.rs"]
mod namespace_labels;
#[path = "chart/retention_policies.rs"]
mod retention_policies;
#[path = "chart/rights.rs"]
mod rights;
#[path = "chart/tenancy.rs"]
mod tenancy;

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use cordwood_tests::env::{ApiServer, kubernetes};
use serde_json::Value;

const NAMESPACE: &str = "logs";
const RELEASE: &str = "cw";

fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the tests' room stands in the top folder")
        .to_owned()
}

fn chart() -> PathBuf {
    top().join("charts/cordwood")
}

/// Values that use every branch of the templates.
const FULL: &str = r#"
image: {registry: registry.example.com/logs, tag: "1.2.3", pullPolicy: Always, pullSecrets: [pull]}
kafka:
  brokers: ["kafka-0.kafka:9093", "10.0.0.7:9094"]
  tls: {enabled: true, secretName: kafka-tls, certKey: tls.crt, keyKey: tls.key}
  sasl: {mechanism: SCRAM-SHA-512, username: cordwood, passwordSecret: {name: kafka-login}}
database: {caSecretName: database-ca}
redis: {url: "rediss://redis:6379/1", passwordSecret: {name: redis-login}, caSecretName: redis-ca}
agent:
  config:
    environment: production
    region: eu-west-1
    tenants: {authority: namespace, allowed: ["shop", "acme-*"], namespaces: [{namespace: "shop-*", tenant: shop}], from_namespace_name: true}
    audit: {pod_bytes_per_hour: 1048576}
    files: [{paths: ["/var/log/plugins/*.log"], service: plugins, tenant: shop, plugin: true}]
    batch: {linger_ms: 200, bytes_max: 262144, counters_ms: 5000}
    read: {memory_bytes_max: 8388608, held_removed_bytes_max: 104857600, open_files_max: 4096, poll_interval_ms: 50, scan_interval_ms: 1000, checkpoint_interval_ms: 500,
           rotation_grace_ms: 500, drain_ms: 5000, rotation_file_bytes: 10485760, rotation_files: 5}
    kubernetes: {metadata_wait_ms: 3000}
  extraLogPaths: [/var/log/plugins]
  nodeSelector: {kubernetes.io/os: linux}
  priorityClassName: system-node-critical
  podAnnotations: {example.com/note: "a: b # c"}
writer:
  replicas: 2
  config: {group: writers, commit: {records_max: 1000, bytes_max: 1048576, linger_ms: 10}, seal: {enabled: true, interval_seconds: 1.5, records_max: 100000, format: 2}}
operator:
  replicas: 2
  config: {retention: {pass_interval_ms: 5000, notice_ms: 1000, clock_skew_ms_max: 60000, horizon_step_ms_max: 3600000, task_age_ms_max: 0}, levels: {duration_ms_max: 3600000, ask_interval_ms: 1000, push: {enabled: true}}, leader: {lease_duration_ms: 5000}}
gateway:
  replicas: 3
  config:
    access:
      kubernetes: {audience: logs, accept_pods_log: true, allow_ms: 30000, deny_ms: 5000, away_ms: 60000}
      oidc:
        issuer: "https://id.example.com:8443/realm"
        client_id: cordwood
        username_claim: email
        username_prefix: "oidc:"
        groups_claim: groups
        groups_prefix: "oidc:"
        required_claims: {hd: example.com}
        signing_algorithms: [RS256, ES256]
        browser: {external_url: "https://logs.example.com", scopes: [openid, email, groups]}
    limits: {queries_max: 16, queries_kept_for_short: 4, exports_max: 4, streams_max: 64, stream_rights_ms: 30000, per_identity: {queries_max: 8, exports_max: 2, streams_max: 16, requests_max: 200}, connections_max: 1000,
             header_ms_max: 5000, write_idle_ms_max: 30000}
    audit: {reads: false}
    shutdown_delay_ms: 10000
  service: {type: LoadBalancer, port: 80, annotations: {example.com/internal: "true"}}
  ingress: {enabled: true, className: nginx, host: logs.example.com, tlsSecretName: logs-tls, annotations: {example.com/read-timeout: "3600"}}
  administration: {enabled: true}
  sessionSecret: {name: session, key: keys}
  oidc: {clientSecret: {name: oidc-client, key: secret}, caSecretName: oidc-ca}
networkPolicy: {metricsFrom: [{namespaceSelector: {matchLabels: {name: monitoring}}}], gatewayFrom: [{namespaceSelector: {}}]}
"#;

const PARTS: [&str; 4] = ["agent", "writer", "operator", "gateway"];

const LEAST: &str = "kafka: {brokers: [\"kafka:9092\"]}\n";

fn helm(arguments: &[&str], values: &str) -> Result<(bool, String, String)> {
    let mut file = tempfile::NamedTempFile::new()?;
    file.write_all(values.as_bytes())?;
    let output = Command::new(kubernetes::helm()?)
        .args(arguments)
        .arg(chart())
        .args(["--namespace", NAMESPACE, "-f"])
        .arg(file.path())
        .stdin(Stdio::null())
        .output()
        .context("run helm")?;
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ok((output.status.success(), text(output.stdout), text(output.stderr)))
}

/// All rendered objects.
fn render(values: &str) -> Result<Vec<Value>> {
    let (ok, out, err) = helm(&["template", RELEASE, "--kube-version", "1.34.4"], values)?;
    ensure!(ok, "helm template: {err}");
    use serde::Deserialize;
    let mut objects = Vec::new();
    for document in serde_yaml::Deserializer::from_str(&out) {
        let object = Value::deserialize(document).context("a rendered document is YAML")?;
        if !object.is_null() {
            objects.push(object);
        }
    }
    Ok(objects)
}

fn of_kind<'a>(objects: &'a [Value], kind: &str) -> Vec<&'a Value> {
    objects.iter().filter(|o| o["kind"] == kind).collect()
}

fn name(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap_or_default()
}

fn kubectl(server: &ApiServer, arguments: &[&str], input: &str) -> Result<(bool, String)> {
    let mut child = Command::new(kubernetes::kubectl()?)
        .arg("--kubeconfig")
        .arg(server.kubeconfig())
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("run kubectl")?;
    child.stdin.take().context("kubectl's input")?.write_all(input.as_bytes())?;
    let output = child.wait_with_output()?;
    let text =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    Ok((output.status.success(), text))
}

#[track_caller]
fn must((ok, text): (bool, String)) -> String {
    assert!(ok, "{text}");
    text
}

/// One JSON document that kubectl takes for many.
fn list(objects: &[&Value]) -> String {
    serde_json::json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string()
}

#[test]
fn helm_finds_nothing_to_object_to() -> Result<()> {
    for values in [LEAST, FULL] {
        let (ok, out, err) = helm(&["lint", "--strict"], values)?;
        assert!(ok, "{out}{err}");
    }
    Ok(())
}

#[test]
fn values_that_must_not_pass_are_refused_by_their_key() -> Result<()> {
    // What is set, and what the message must name.
    let rows: &[(&str, &str)] = &[
        ("kafka: {brokers: [\"k:9092\"], brokerz: []}", "additional properties 'brokerz' not allowed"),
        ("{}", "kafka.brokers is needed"),
        ("kafka: {brokers: [\"no-port\"]}", "/kafka/brokers/0"),
        // A plain password, in every place where one could be tried.
        (
            "kafka: {brokers: [\"k:9092\"], sasl: {mechanism: PLAIN, username: u, password: hunter2}}",
            "'password' not allowed",
        ),
        (
            "kafka: {brokers: [\"k:9092\"]}\ndatabase: {url: \"postgresql://u:hunter2@h/d\"}",
            "'url' not allowed",
        ),
        ("kafka: {brokers: [\"k:9092\"]}\nredis: {url: \"redis://:hunter2@h:6379\"}", "/redis/url"),
        (
            "kafka: {brokers: [\"k:9092\"], sasl: {mechanism: PLAIN, username: u}}",
            "kafka.sasl.passwordSecret.name is needed",
        ),
        // Root.
        ("kafka: {brokers: [\"k:9092\"]}\nwriter: {runAsUser: 0}", "/writer/runAsUser"),
        ("kafka: {brokers: [\"k:9092\"]}\noperator: {runAsUser: 0}", "/operator/runAsUser"),
        ("kafka: {brokers: [\"k:9092\"]}\ngateway: {runAsUser: 0}", "/gateway/runAsUser"),
        // A gateway that anybody may ask, or that knows callers by a file that is not there.
        ("kafka: {brokers: [\"k:9092\"]}\ngateway: {config: {tokens_file: /x}}", "'tokens_file' not allowed"),
        (
            "kafka: {brokers: [\"k:9092\"]}\ngateway: {config: {access: {kubernetes: {audience: \"\"}}}}",
            "/gateway/config/access/kubernetes/audience",
        ),
        (
            "kafka: {brokers: [\"k:9092\"]}\ngateway: {ingress: {enabled: true}}",
            "gateway.ingress.host is needed",
        ),
        (
            "kafka: {brokers: [\"k:9092\"]}\ngateway: {ingress: {host: \"a\\n- host: b\"}}",
            "/gateway/ingress/host",
        ),
        (
            "kafka: {brokers: [\"k:9092\"]}\ngateway: {config: {access: {oidc: {browser: {client_secret: x}}}}}",
            "'client_secret' not allowed",
        ),
        (
            "kafka: {brokers: [\"k:9092\"]}\ngateway: {config: {access: {session_key_file: /x}}}",
            "'session_key_file' not allowed",
        ),
        (
            "kafka: {brokers: [\"k:9092\"]}\nagent: {securityContext: {privileged: true}}",
            "'securityContext' not allowed",
        ),
        // YAML that tries to become more than the value it stands for.
        ("kafka: {brokers: [\"k:9092\"], topic: \"x\\nevil: true\"}", "/kafka/topic"),
        ("kafka: {brokers: [\"k:9092\\n- evil:1\"]}", "/kafka/brokers/0"),
        ("kafka: {brokers: [\"k:9092\"]}\nimage: {tag: \"x\\\"\\n      hostNetwork: true\"}", "/image/tag"),
        (
            "kafka: {brokers: [\"k:9092\"]}\nagent: {logPath: \"/var/log/pods\\n  type: Socket\"}",
            "/agent/logPath",
        ),
        (
            "kafka: {brokers: [\"k:9092\"]}\nagent: {logLevel: \"info\\n- name: LD_PRELOAD\"}",
            "/agent/logLevel",
        ),
        ("kafka: {brokers: [\"k:9092\"]}\nagent: {config: {kafka: {topic: other}}}", "'kafka' not allowed"),
        (
            "kafka: {brokers: [\"k:9092\"]}\nwriter: {config: {commit: {records_max: 0}}}",
            "/writer/config/commit/records_max",
        ),
        // One name for all replicas: each would drive the others out.
        ("kafka: {brokers: [\"k:9092\"]}\nwriter: {config: {member: writer-0}}", "'member' not allowed"),
        ("kafka: {brokers: [\"k:9092\"], partitions: many}", "/kafka/partitions"),
        (
            "kafka: {brokers: [\"k:9092\"]}\nwriter: {resources: {limits: {memory: lots}}}",
            "/writer/resources/limits/memory",
        ),
    ];
    for (values, expected) in rows {
        let (ok, _, err) = helm(&["template", RELEASE, "--kube-version", "1.34.4"], values)?;
        assert!(!ok, "accepted: {values}");
        assert!(err.contains(expected), "{values}\nwanted {expected:?}, got {err}");
    }
    Ok(())
}

#[test]
fn a_value_with_yaml_in_it_stays_a_value() -> Result<()> {
    let evil = "a: b\n  evil: [1] # \" ' {{ .Release.Name }}";
    let values =
        format!("{LEAST}agent: {{podAnnotations: {{example.com/x: {}}}}}", serde_json::to_string(evil)?);
    let objects = render(&values)?;
    let set = of_kind(&objects, "DaemonSet")[0];
    assert_eq!(set["spec"]["template"]["metadata"]["annotations"]["example.com/x"], evil);
    Ok(())
}

/// Every path of keys in the values, and of the properties in the schema, agree; free-form maps end a path.
#[test]
fn values_and_schema_name_the_same_keys() -> Result<()> {
    fn of_values(value: &Value, path: &str, out: &mut BTreeSet<String>) {
        match value.as_object() {
            Some(map) if !map.is_empty() => {
                map.iter().for_each(|(key, value)| of_values(value, &format!("{path}.{key}"), out))
            }
            _ => drop(out.insert(path.to_owned())),
        }
    }
    fn of_schema(schema: &Value, path: &str, out: &mut BTreeSet<String>) {
        match schema["properties"].as_object() {
            Some(map) => {
                assert_eq!(schema["additionalProperties"], false, "{path}: unknown keys must be refused");
                map.iter().for_each(|(key, schema)| of_schema(schema, &format!("{path}.{key}"), out));
            }
            None => drop(out.insert(path.to_owned())),
        }
    }
    let values: Value = serde_yaml::from_str(&std::fs::read_to_string(chart().join("values.yaml"))?)?;
    let schema: Value = serde_json::from_str(&std::fs::read_to_string(chart().join("values.schema.json"))?)?;
    let (mut has, mut allowed) = (BTreeSet::new(), BTreeSet::new());
    of_values(&values, "", &mut has);
    of_schema(&schema, "", &mut allowed);
    for key in &has {
        assert!(
            allowed.iter().any(|a| a == key || a.starts_with(&format!("{key}."))),
            "values.yaml has {key}, the schema does not"
        );
    }
    // What is optional inside of a map that is empty by default, and Helm's own key.
    let open = [
        ".global",
        ".agent.config.",
        ".writer.config.",
        ".operator.config.",
        ".gateway.config.",
        ".resources.",
    ];
    for key in allowed.iter().filter(|key| !open.iter().any(|part| key.contains(part))) {
        assert!(has.contains(key), "the schema allows {key}, values.yaml does not say its default");
    }
    Ok(())
}

#[test]
fn no_secret_is_rendered_and_every_workload_is_confined() -> Result<()> {
    // But the key that the gateways share, which is another one each time where no cluster has one.
    let made = |values: &str| -> Result<Vec<String>> {
        let objects = render(values)?;
        let secrets = of_kind(&objects, "Secret").into_iter();
        Ok(secrets.map(|secret| format!("{} {}", name(secret), secret["data"]["session-key"])).collect())
    };
    let (one, other) = (made(LEAST)?, made(LEAST)?);
    assert!(
        one.len() == 1 && one[0].starts_with("cw-cordwood-gateway-session \"") && one != other,
        "{one:?}"
    );
    assert!(one[0].len() > 64, "{one:?}");
    // Another key, and the pods that have read it start again; where the Secret is the user's, nothing is known of it.
    let hashes = |values: &str| -> Result<(String, Value)> {
        let objects = render(values)?;
        let is_gateway = |o: &&&Value| name(o).ends_with("-gateway");
        let gateway = of_kind(&objects, "Deployment").into_iter().find(|o| is_gateway(&o)).cloned();
        let pod = gateway.context("the gateway's Deployment")?["spec"]["template"]["metadata"].clone();
        let secret = of_kind(&objects, "Secret").first().map(|secret| secret["data"]["session-key"].clone());
        let key = secret.as_ref().and_then(Value::as_str).unwrap_or_default();
        let mut file = tempfile::NamedTempFile::new()?;
        file.write_all(key.as_bytes())?;
        let sum = Command::new("sha256sum").arg(file.path()).output().context("run sha256sum")?.stdout;
        let hash = String::from_utf8(sum)?.split_whitespace().next().unwrap_or_default().to_owned();
        Ok((hash, pod["annotations"]["cordwood.dev/session-hash"].clone()))
    };
    let (hash, told) = hashes(LEAST)?;
    assert_eq!(told, hash);
    assert!(hashes(FULL)?.1.is_null());
    let objects = render(FULL)?;
    assert!(of_kind(&objects, "Secret").is_empty());
    let kinds = ["DaemonSet", "Deployment"];
    let workloads: Vec<_> =
        objects.iter().filter(|o| kinds.contains(&o["kind"].as_str().unwrap_or_default())).collect();
    assert_eq!(workloads.len(), PARTS.len());
    for workload in workloads {
        let (pod, container) =
            (&workload["spec"]["template"]["spec"], &workload["spec"]["template"]["spec"]["containers"][0]);
        let context = &container["securityContext"];
        assert_eq!(context["allowPrivilegeEscalation"], false, "{}", name(workload));
        assert_eq!(context["readOnlyRootFilesystem"], true, "{}", name(workload));
        assert_eq!(context["capabilities"]["drop"][0], "ALL", "{}", name(workload));
        assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
        for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
            assert!(container[probe].is_object(), "{} has no {probe}", name(workload));
        }
        assert!(container["resources"]["limits"]["memory"].is_string(), "{}", name(workload));
        let host: Vec<_> =
            pod["volumes"].as_array().into_iter().flatten().filter(|v| v["hostPath"].is_object()).collect();
        assert_eq!(host.is_empty(), workload["kind"] != "DaemonSet", "{}", name(workload));
        for mount in
            container["volumeMounts"].as_array().into_iter().flatten().filter(|m| m["name"] != "state")
        {
            assert_eq!(mount["readOnly"], true, "{}: {mount}", name(workload));
        }
        for env in container["env"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|e| e["name"].as_str().is_some_and(|n| n.contains("URL")))
        {
            assert!(env["valueFrom"]["secretKeyRef"].is_object(), "{env}");
        }
    }
    Ok(())
}

/// Its name in Kafka's consumer group is its pod's. A Deployment's pods have names that no other pod has, of another release neither, and
/// a pod on a dead node does not hold up the one that replaces it: a StatefulSet's does both.
#[test]
fn a_writer_is_named_by_a_pod_that_can_be_replaced() -> Result<()> {
    for values in [LEAST, FULL] {
        let objects = render(values)?;
        assert!(of_kind(&objects, "StatefulSet").is_empty());
        let writer = of_kind(&objects, "Deployment")
            .into_iter()
            .find(|o| name(o) == format!("{RELEASE}-cordwood-writer"))
            .context("the writer's Deployment")?;
        let env = &writer["spec"]["template"]["spec"]["containers"][0]["env"];
        let env = env.as_array().context("its environment")?;
        let pod = env.iter().find(|e| e["name"] == "POD_NAME").context("POD_NAME")?;
        assert_eq!(pod["valueFrom"]["fieldRef"]["fieldPath"], "metadata.name");
        let budgets = of_kind(&objects, "PodDisruptionBudget");
        let labels = &writer["spec"]["template"]["metadata"]["labels"];
        let selects = |budget: &&&Value| {
            let wanted = budget["spec"]["selector"]["matchLabels"].as_object();
            wanted.is_some_and(|wanted| wanted.iter().all(|(key, value)| labels[key] == *value))
        };
        assert_eq!(budgets.iter().filter(selects).count(), usize::from(!budgets.is_empty()));
        for map in of_kind(&objects, "ConfigMap").into_iter().filter(|m| name(m).ends_with("-writer")) {
            let file: Value = serde_yaml::from_str(map["data"]["writer.yaml"].as_str().context("its file")?)?;
            assert!(file["member"].is_null(), "{file}");
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_api_server_accepts_every_object_and_grants_the_least() -> Result<()> {
    let server = ApiServer::start().await?;
    let restricted = "apiVersion: v1\nkind: Namespace\nmetadata: {name: logs, labels: {pod-security.kubernetes.io/enforce: restricted}}\n";
    must(kubectl(&server, &["apply", "-f", "-"], restricted)?);

    // All objects, as the server would store them, with unknown fields refused.
    for values in [LEAST, FULL] {
        let objects = render(values)?;
        assert!(objects.len() > 15, "{} objects", objects.len());
        let text = list(&objects.iter().collect::<Vec<_>>());
        let said = must(kubectl(
            &server,
            &["apply", "--dry-run=server", "--validate=strict", "-n", NAMESPACE, "-f", "-"],
            &text,
        )?);
        assert_eq!(said.lines().filter(|l| l.contains("(server dry run)")).count(), objects.len(), "{said}");
    }

    // Rights, from the server's own answer.
    let objects = render(LEAST)?;
    let rights: Vec<_> = objects
        .iter()
        .filter(|o| {
            [
                "CustomResourceDefinition",
                "ServiceAccount",
                "ClusterRole",
                "ClusterRoleBinding",
                "Role",
                "RoleBinding",
            ]
            .contains(&o["kind"].as_str().unwrap_or_default())
        })
        .collect();
    must(kubectl(&server, &["apply", "-f", "-"], &list(&rights))?);
    let established = [
        "wait",
        "--for=condition=established",
        "--timeout=60s",
        "crd",
        "-l",
        "app.kubernetes.io/name=cordwood",
    ];
    must(kubectl(&server, &established, "")?);
    rights::of_the_parts(&server)?;
    rights::of_the_gateway_with_administration(&server)?;
    rights::of_the_operator_that_pushes(&server)?;
    rights::of_people(&server, &objects)?;
    namespace_labels::are_set_only_by_those_who_may(&server).await?;
    retention_policies::let_go_only_by_those_who_may(&server).await?;
    tenancy::is_bent_by_nobody(&server)?;

    // Pod security: the restricted profile takes all but the agent as they are; of the agent it names what is its exception.
    for part in PARTS {
        let workload = objects
            .iter()
            .find(|o| name(o) == format!("{RELEASE}-cordwood-{part}") && o["spec"]["template"].is_object())
            .context("a workload")?;
        let mut pod = workload["spec"]["template"].clone();
        pod["apiVersion"] = "v1".into();
        pod["kind"] = "Pod".into();
        pod["metadata"]["name"] = part.into();
        pod["metadata"]["namespace"] = NAMESPACE.into();
        let (ok, said) = kubectl(&server, &["create", "--dry-run=server", "-f", "-"], &pod.to_string())?;
        if part == "agent" {
            assert!(!ok && said.contains("hostPath") && said.contains("runAsUser=0"), "{said}");
            for other in ["allowPrivilegeEscalation", "capabilities", "seccompProfile"] {
                assert!(!said.contains(other), "{said}");
            }
        } else {
            assert!(ok, "{part}: {said}");
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_resources_upgrade_with_the_release_and_stay_when_it_goes() -> Result<()> {
    let server = ApiServer::start().await?;
    let kubeconfig = server.kubeconfig().to_string_lossy().into_owned();
    let run = |command: &str, more: &[&str]| {
        helm(&[&[command, RELEASE, "--kubeconfig", &kubeconfig], more].concat(), LEAST)
    };
    let (ok, out, err) = run("install", &["--create-namespace"])?;
    assert!(ok, "{err}");
    assert!(
        [
            "create secret generic cordwood-database",
            "kubectl label namespace",
            "GRANT cordwood_gateway",
            "port-forward service/cw-cordwood-gateway 9600:9600"
        ]
        .iter()
        .all(|step| out.contains(step)),
        "NOTES say what to do next: {out}"
    );

    // An older definition, as an earlier version would have left it: one column fewer, which the upgrade brings back.
    let crd = "logretentionpolicies.cordwood.dev";
    let columns = || {
        kubectl(
            &server,
            &["get", "crd", crd, "-o", "jsonpath={.spec.versions[0].additionalPrinterColumns[*].name}"],
            "",
        )
    };
    let before = must(columns()?);
    assert!(!before.is_empty());
    must(kubectl(
        &server,
        &[
            "patch",
            "crd",
            crd,
            "--type=json",
            "-p",
            r#"[{"op":"remove","path":"/spec/versions/0/additionalPrinterColumns/0"}]"#,
        ],
        "",
    )?);
    assert_ne!(must(columns()?), before);
    let session = || {
        let secret = [
            "get",
            "secret",
            "-n",
            NAMESPACE,
            "cw-cordwood-gateway-session",
            "-o",
            "jsonpath={.data.session-key}",
        ];
        kubectl(&server, &secret, "")
    };
    let key = must(session()?);
    assert!(key.len() > 64, "{key}");
    let (ok, _, err) = run("upgrade", &[])?;
    assert!(ok, "{err}");
    assert_eq!(must(session()?), key, "people who are logged in stay so");
    assert_eq!(must(columns()?), before, "the upgrade restores the definition");

    let output = Command::new(kubernetes::helm()?)
        .args(["uninstall", RELEASE, "-n", NAMESPACE, "--kubeconfig", &kubeconfig])
        .output()?;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(must(columns()?), before, "the definition stays, and with it every policy");
    let (found, _) = kubectl(&server, &["get", "daemonset", "-n", NAMESPACE, "cw-cordwood-agent"], "")?;
    assert!(!found, "the workloads are gone");
    // Installed again over the kept definitions.
    let (ok, _, err) = run("install", &[])?;
    assert!(ok, "{err}");
    Ok(())
}
