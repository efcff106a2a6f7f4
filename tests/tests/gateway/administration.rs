//! Policies and level configs of a cluster, read and changed by those whom a real API server lets do it, and by nobody else.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use cordwood_crds::{ClusterLogLevelConfig, LogLevelConfig, LogRetentionPolicy};
use cordwood_gateway::{Administration, AdministrationConfig, Audit, Limits};
use cordwood_tests::env::wait_for;
use cordwood_tests::http::{Answer, ask, send};
use k8s_openapi::api::rbac::v1::ClusterRoleBinding;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use super::cluster::{Kubernetes, RESOURCES, access, install};
use super::world::World;

const RETENTION: &str = "/api/admin/retention";
const LEVELS: &str = "/api/admin/levels";
const PATIENCE: Duration = Duration::from_secs(30);

struct Admin {
    world: World,
    audit: Arc<Mutex<String>>,
}

impl Admin {
    async fn get(&self, token: &str, path: &str) -> Result<Answer> {
        self.world.get_as(token, path).await
    }

    async fn send(&self, token: &str, method: &str, path: &str, body: &Value) -> Result<Answer> {
        let bearer = format!("Bearer {token}");
        send(&self.world.address, method, path, &[("Authorization", &bearer)], &body.to_string()).await
    }

    /// The names in a list.
    async fn names(&self, token: &str, path: &str) -> Result<Vec<String>> {
        let answer = self.get(token, path).await?;
        ensure!(answer.code == 200, "{path}: {}", answer.text());
        let items = answer.json()?["items"].as_array().cloned().context("no items")?;
        let name = |item: &Value| item["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        Ok(items.iter().map(name).collect())
    }
}

fn policy(name: &str, spec: Value) -> Value {
    json!({"apiVersion": "cordwood.dev/v1alpha1", "kind": "LogRetentionPolicy", "metadata": {"name": name}, "spec": spec})
}

#[tokio::test(flavor = "multi_thread")]
async fn resources_are_changed_by_those_who_may_and_by_nobody_else() -> Result<()> {
    let cluster = Kubernetes::start().await?;
    install(&cluster).await?;
    let config = cluster.gateway().await?;
    let rule = |resources: &[&str], verbs: &[&str]| json!([{"apiGroups": ["cordwood.dev"], "resources": resources, "verbs": verbs}]);
    for (role, resources, verbs) in [
        // What the gateway's own account needs, and not more.
        ("administers", &RESOURCES[..], &["get", "list", "create", "patch", "delete"][..]),
        ("reads", &RESOURCES, &["get", "list"]),
        ("edits", &RESOURCES, &["get", "list", "create", "update", "delete"]),
        ("edits-levels", &RESOURCES[1..2], &["get", "list", "create", "update", "delete"]),
    ] {
        cluster.cluster_role(role, rule(resources, verbs)).await?;
    }
    cluster.bind("gateway", "administers", "").await?;
    let [reader, editor, shop, nobody] = [
        cluster.token("reader", "cordwood").await?,
        cluster.token("editor", "cordwood").await?,
        cluster.token("shop", "cordwood").await?,
        cluster.token("nobody", "cordwood").await?,
    ];
    cluster.bind("reader", "reads", "").await?;
    cluster.bind("editor", "edits", "").await?;
    cluster.bind("shop", "edits-levels", "shop").await?;
    let access = access(&config).await?;
    let switched_on = AdministrationConfig { enabled: true, ..AdministrationConfig::default() };
    let administration = Administration::of_cluster(&switched_on, &access);
    ensure!(administration.is_some());
    let told = Arc::new(Mutex::new(String::new()));
    let into = Arc::clone(&told);
    let audit = Audit::to(false, move |line| {
        into.lock().map_err(|_| std::io::ErrorKind::Other)?.push_str(&String::from_utf8_lossy(line));
        Ok(())
    });
    let world = World::administered(15, &[], access, Limits::default(), administration, audit).await?;
    let admin = Admin { world, audit: told };
    who_may_and_who_may_not(&admin, &cluster, [&reader, &editor, &shop, &nobody]).await?;
    what_is_written_is_what_was_asked_for(&admin, &cluster, &editor).await?;
    a_plan_that_waits_is_approved_by_those_who_may(&admin, &cluster, [&reader, &editor, &shop]).await?;
    mistakes_name_their_field(&admin, &editor).await?;
    levels_in_one_request(&admin, &cluster, [&editor, &shop]).await?;
    // A right that is taken away changes nothing any more.
    let bindings: Api<ClusterRoleBinding> = Api::all(cluster.client.clone());
    bindings.delete("editor-edits", &DeleteParams::default()).await?;
    wait_for("the right to be gone", PATIENCE, || async {
        let put = admin.send(&editor, "PUT", RETENTION, &policy("kept", json!({"priority": 9}))).await?;
        ensure!(put.code == 404, "{}", put.text());
        Ok(())
    })
    .await
}

async fn who_may_and_who_may_not(
    admin: &Admin,
    cluster: &Kubernetes,
    [reader, editor, shop, nobody]: [&str; 4],
) -> Result<()> {
    let kept = policy("kept", json!({"retention": {"info": "3d"}}));
    let nowhere = admin.get(editor, &format!("{RETENTION}/nowhere")).await?;
    ensure!(nowhere.code == 404);
    let without_id = |answer: &Answer| -> Result<Value> {
        let mut body = answer.json()?;
        body.as_object_mut().context("an object")?.remove("requestId");
        Ok(body)
    };
    for token in [reader, shop, nobody] {
        let put = admin.send(token, "PUT", RETENTION, &kept).await?;
        ensure!(put.code == 404 && without_id(&put)? == without_id(&nowhere)?, "{}", put.text());
    }
    let put = admin.send(editor, "PUT", RETENTION, &kept).await?;
    ensure!(put.code == 201, "{}", put.text());
    let made = put.json()?;
    ensure!(
        made["spec"]["retention"] == json!({"error": "30d", "warn": "14d", "info": "3d", "debug": "1d"}),
        "{made}"
    );
    let stored = Api::<LogRetentionPolicy>::all(cluster.client.clone()).get("kept").await?;
    let managers = stored.metadata.managed_fields.clone().unwrap_or_default();
    ensure!(
        managers.iter().all(|entry| entry.manager.as_deref() == Some("cordwood-gateway")),
        "{managers:?}"
    );
    for (token, seen) in [(reader, true), (editor, true), (shop, false), (nobody, false)] {
        let one = admin.get(token, &format!("{RETENTION}/kept")).await?;
        ensure!((one.code == 200) == seen, "{}", one.text());
        ensure!(seen || without_id(&one)? == without_id(&nowhere)?, "{}", one.text());
        ensure!(admin.names(token, RETENTION).await?.len() == usize::from(seen));
    }
    for token in [reader, shop, nobody] {
        for (method, path) in [
            ("PUT", RETENTION.to_owned()),
            ("POST", RETENTION.to_owned()),
            ("PUT", format!("{RETENTION}/kept")),
        ] {
            for query in ["", "?preview=true"] {
                let refused = admin.send(token, method, &format!("{path}{query}"), &kept).await?;
                ensure!(
                    refused.code == 404 && without_id(&refused)? == without_id(&nowhere)?,
                    "{}",
                    refused.text()
                );
            }
        }
        let bearer = format!("Bearer {token}");
        let gone =
            ask(&admin.world.address, "DELETE", &format!("{RETENTION}/kept"), &[("Authorization", &bearer)])
                .await?;
        ensure!(gone.code == 404 && without_id(&gone)? == without_id(&nowhere)?, "{}", gone.text());
    }
    let there = admin.send(editor, "POST", RETENTION, &kept).await?;
    ensure!(there.code == 409, "{}", there.text());
    // Who has not seen it as it is changes nothing.
    let mut stale = kept.clone();
    stale["metadata"]["resourceVersion"] = json!("1");
    let conflict = admin.send(editor, "PUT", RETENTION, &stale).await?;
    ensure!(conflict.code == 409 && conflict.text().contains("problem:conflict"), "{}", conflict.text());
    stale["metadata"]["resourceVersion"] = made["metadata"]["resourceVersion"].clone();
    stale["spec"]["retention"]["info"] = json!("4d");
    let changed = admin.send(editor, "PUT", RETENTION, &stale).await?;
    ensure!(
        changed.code == 200 && changed.json()?["spec"]["retention"]["info"] == "4d",
        "{}",
        changed.text()
    );
    let conflict = admin.send(editor, "PUT", RETENTION, &stale).await?;
    ensure!(conflict.code == 409, "{}", conflict.text());
    let lines: Vec<Value> = admin
        .audit
        .lock()
        .ok()
        .context("poisoned")?
        .lines()
        .map(serde_json::from_str)
        .collect::<Result<_, _>>()?;
    let change =
        lines.iter().rfind(|line| line["metadata"]["outcome"] == "ok").context("no change is told")?;
    ensure!(
        change["is_audit"] == true
            && change["userId"] == "system:serviceaccount:people:editor"
            && change["metadata"]["question"]["resource"] == json!(["logretentionpolicies//kept"])
            && change["metadata"]["before"]["retention"]["info"] == "3d"
            && change["metadata"]["after"]["retention"]["info"] == "4d",
        "{change}"
    );
    Ok(())
}

/// Also where `kubectl` wrote it before: what the new spec does not say is not there any more.
async fn what_is_written_is_what_was_asked_for(
    admin: &Admin,
    cluster: &Kubernetes,
    editor: &str,
) -> Result<()> {
    let api: Api<LogRetentionPolicy> = Api::all(cluster.client.clone());
    let spec = json!({
        "match": {"tenants": ["a", "b"], "services": ["x"]}, "priority": 5, "legalHold": true, "retention": {"info": "9d"},
    });
    let by_hand = PatchParams::apply("kubectl");
    let object: Value = policy("by-hand", spec);
    api.patch("by-hand", &by_hand, &Patch::Apply(&object)).await?;
    let put = admin
        .send(
            editor,
            "PUT",
            RETENTION,
            &policy("by-hand", json!({"match": {"tenants": ["b", "c"]}, "priority": 6})),
        )
        .await?;
    ensure!(put.code == 200, "{}", put.text());
    let spec = api.get("by-hand").await?.spec;
    ensure!(spec.matches.tenants == ["b", "c"] && spec.matches.services.is_empty(), "{spec:?}");
    ensure!(spec.priority == 6 && !spec.legal_hold && spec.retention.info == "7d", "{spec:?}");
    let levels: Api<LogLevelConfig> = Api::namespaced(cluster.client.clone(), "shop");
    let config = json!({
        "apiVersion": "cordwood.dev/v1alpha1", "kind": "LogLevelConfig", "metadata": {"name": "by-hand", "namespace": "shop"},
        "spec": {"level": "ERROR", "duration": "1h"},
    });
    levels.patch("by-hand", &by_hand, &Patch::Apply(&config)).await?;
    let mut ends = config.clone();
    ends["spec"] = json!({"level": "WARN", "expiresAt": "2100-01-01T00:00:00Z"});
    let put = admin.send(editor, "PUT", &format!("{LEVELS}/by-hand?namespace=shop"), &ends).await?;
    ensure!(put.code == 200 && put.json()?["spec"].get("duration").is_none(), "{}", put.text());
    let gone = admin.send(editor, "DELETE", &format!("{LEVELS}/by-hand?namespace=shop"), &json!({})).await?;
    ensure!(gone.code == 204, "{}", gone.text());
    Ok(())
}

/// As the operator reads it: two annotations, of which one names the caller.
async fn a_plan_that_waits_is_approved_by_those_who_may(
    admin: &Admin,
    cluster: &Kubernetes,
    [reader, editor, shop]: [&str; 3],
) -> Result<()> {
    const PLAN: &str = "686788921e15984c";
    let api: Api<LogRetentionPolicy> = Api::all(cluster.client.clone());
    let made = admin.send(editor, "PUT", RETENTION, &policy("waits", json!({"priority": 3}))).await?;
    ensure!(made.code == 201, "{}", made.text());
    let path = format!("{RETENTION}/waits/approval");
    let approve =
        async |token: &str, plan: &str| admin.send(token, "POST", &path, &json!({"plan": plan})).await;
    let nothing = approve(editor, PLAN).await?;
    ensure!(nothing.code == 409 && nothing.text().contains("problem:no-plan"), "{}", nothing.text());
    let status = json!({"status": {"approval": {
        "plan": PLAN, "partitions": 7, "bytes": 9, "command": "kubectl annotate"},
    }});
    api.patch_status("waits", &PatchParams::default(), &Patch::Merge(&status)).await?;
    for token in [reader, shop] {
        let refused = approve(token, PLAN).await?;
        ensure!(refused.code == 404 && refused.text().contains("problem:no-resource"), "{}", refused.text());
        // Also where the body is wrong.
        let refused = admin.send(token, "POST", &path, &json!({})).await?;
        ensure!(refused.code == 404, "{}", refused.text());
    }
    let another = approve(editor, "0000000000000000").await?;
    ensure!(another.code == 409 && another.text().contains(PLAN), "{}", another.text());
    for body in [json!({}), json!({"plan": 7}), json!({"plan": PLAN, "by": "another"})] {
        let wrong = admin.send(editor, "POST", &path, &body).await?;
        ensure!(wrong.code == 422, "{body}: {}", wrong.text());
    }
    ensure!(api.get("waits").await?.metadata.annotations.is_none(), "a refused approval wrote something");
    let approved = approve(editor, PLAN).await?;
    ensure!(approved.code == 200, "{}", approved.text());
    let stored = api.get("waits").await?;
    let approval = stored.to_policy().map_err(|why| anyhow::anyhow!("{why:?}"))?.approval;
    let approval = approval.context("no approval is read")?;
    ensure!(approval.plan == PLAN, "{approval:?}");
    let by = "system:serviceaccount:people:editor (written by cordwood-gateway, ";
    ensure!(approval.by.starts_with(by), "{approval:?}");
    ensure!(stored.spec.priority == 3, "the spec is another");
    let audit = admin.audit.lock().ok().context("poisoned")?.clone();
    let told: Value = serde_json::from_str(audit.lines().next_back().context("no record")?)?;
    ensure!(
        told["action"] == "changed"
            && told["metadata"]["question"]["approved_plan"] == json!([PLAN])
            && told["metadata"]["question"]["resource"] == json!(["logretentionpolicies//waits"]),
        "{told}"
    );
    // A change through the gateway leaves the approval of what was: its name is another plan's by then.
    let put = admin.send(editor, "PUT", RETENTION, &policy("waits", json!({"priority": 4}))).await?;
    ensure!(put.code == 200, "{}", put.text());
    ensure!(api.get("waits").await?.to_policy().is_ok_and(|policy| policy.approval.is_some()));
    let gone = admin.send(editor, "DELETE", &format!("{RETENTION}/waits"), &json!({})).await?;
    ensure!(gone.code == 204, "{}", gone.text());
    let nowhere = approve(editor, PLAN).await?;
    ensure!(nowhere.code == 404, "{}", nowhere.text());
    Ok(())
}

async fn mistakes_name_their_field(admin: &Admin, editor: &str) -> Result<()> {
    for (spec, field) in [
        (json!({"retention": {"info": "soon"}}), "spec.retention.info"),
        (json!({"retention": {"info": 5}}), "spec.retention.info"),
        (json!({"retention": {"fatal": "5d"}}), "spec.retention.fatal"),
        (json!({"retention": []}), "spec.retention"),
        (json!({"priority": "high"}), "spec.priority"),
        (json!({"priority": 1e300}), "spec.priority"),
        (json!({"priority": 2_000_000}), "spec.priority"),
        (json!({"match": {"tenants": ["a b"]}}), "spec.match.tenants"),
        (json!({"match": {"categories": ["none"]}}), "spec.match.categories"),
        (json!({"dropLimit": {"bytes": "lots"}}), "spec.dropLimit.bytes"),
        (json!({"dropLimit": {"bytes": {}}}), "spec.dropLimit.bytes"),
        (json!("soon"), "spec"),
        (Value::Null, "spec"),
    ] {
        for query in ["", "?preview=true"] {
            let put = admin
                .send(editor, "PUT", &format!("{RETENTION}{query}"), &policy("wrong", spec.clone()))
                .await?;
            let body = put.json()?;
            ensure!(put.code == 422 && body["errors"][0]["field"] == field, "{spec}: {} {body}", put.code);
        }
    }
    let with = |field: &str, value: Value| {
        let mut object = policy("wrong", json!({}));
        object[field] = value;
        object
    };
    for body in [
        with("kind", json!("Secret")),
        with("kind", json!("LogLevelConfig")),
        with("apiVersion", json!("v1")),
        with("metadata", json!({})),
        with("metadata", json!([])),
        with("metadata", json!({"name": "../secrets"})),
        with("metadata", json!({"name": "a/b"})),
        with("metadata", json!({"name": 5})),
        with("metadata", json!({"name": "a".repeat(254)})),
        with("metadata", json!({"name": "wrong", "namespace": "shop"})),
        with("metadata", json!({"name": "default"}).clone()).as_object().map_or(Value::Null, |object| {
            let mut object = object.clone();
            object.insert("spec".to_owned(), json!({"match": {"tenants": ["a"]}}));
            Value::Object(object)
        }),
        with("data", json!({})),
    ] {
        let put = admin.send(editor, "PUT", RETENTION, &body).await?;
        ensure!(
            put.code == 422 && put.json()?["errors"][0]["field"].is_string(),
            "{body}: {} {}",
            put.code,
            put.text()
        );
    }
    let bearer = format!("Bearer {editor}");
    let authorization = ("Authorization", bearer.as_str());
    for (text, code) in [("", 400), ("[]", 400), ("{", 400), ("\u{0}", 400), ("null", 400)] {
        let put = send(&admin.world.address, "PUT", RETENTION, &[authorization], text).await?;
        ensure!(put.code == code, "{text:?}: {} {}", put.code, put.text());
    }
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let put = send(&admin.world.address, "PUT", RETENTION, &[authorization], &deep).await?;
    ensure!(put.code == 400, "{}", put.code);
    let large = policy("wrong", json!({"match": {"tenants": ["a".repeat(300 << 10)]}}));
    ensure!(admin.send(editor, "PUT", RETENTION, &large).await?.code == 413);
    let text = [authorization, ("Content-Type", "text/plain"), ("Content-Length", "2")];
    let put = ask(&admin.world.address, "PUT", RETENTION, &text).await?;
    ensure!(put.code == 415, "{}", put.code);
    for query in ["?preview=maybe", "?dry=true"] {
        let put =
            admin.send(editor, "PUT", &format!("{RETENTION}{query}"), &policy("wrong", json!({}))).await?;
        ensure!(put.code == 400, "{}", put.text());
    }
    for path in ["%2e%2e%2fsecrets", "%00", "a%2fb", "-", "%ff"] {
        let answer = admin.get(editor, &format!("{RETENTION}/{path}")).await?;
        ensure!(answer.code == 404 || answer.code == 400, "{path}: {}", answer.code);
    }
    ensure!(!admin.names(editor, RETENTION).await?.contains(&"wrong".to_owned()));
    Ok(())
}

async fn levels_in_one_request(admin: &Admin, cluster: &Kubernetes, [editor, shop]: [&str; 2]) -> Result<()> {
    let quiet = json!({"namespace": "shop", "target": "checkout", "level": "ERROR", "ttlSeconds": 1800});
    let put = admin.send(shop, "PUT", LEVELS, &quiet).await?;
    ensure!(put.code == 201, "{}", put.text());
    let first = put.json()?;
    ensure!(first["kind"] == "LogLevelConfig" && first["spec"]["service"] == "checkout", "{first}");
    let ends: jiff::Timestamp = first["spec"]["expiresAt"].as_str().context("no end")?.parse()?;
    let left = ends.as_second() - jiff::Timestamp::now().as_second();
    ensure!((1..=1800).contains(&left), "{first}");
    let again = json!({"namespace": "shop", "target": "checkout", "level": "WARN", "ttlSeconds": 3600, "debugScopes": true});
    let put = admin.send(shop, "PUT", LEVELS, &again).await?;
    let second = put.json()?;
    ensure!(put.code == 200 && second["metadata"]["uid"] == first["metadata"]["uid"], "{second}");
    ensure!(second["spec"]["level"] == "WARN" && second["spec"]["debugScopes"] == true, "{second}");
    // The tasks' level is another setting.
    let task = json!({"namespace": "shop", "target": "checkout", "level": "WARN", "ttlSeconds": 60, "scope": "task"});
    ensure!(admin.send(shop, "PUT", LEVELS, &task).await?.code == 201);
    // Another namespace, and the whole cluster, are not theirs.
    for (field, value) in [("namespace", json!("bank")), ("namespace", Value::Null)] {
        let mut other = quiet.clone();
        other[field] = value;
        let put = admin.send(shop, "PUT", LEVELS, &other).await?;
        ensure!(put.code == 404, "{}", put.text());
        ensure!(admin.send(editor, "PUT", LEVELS, &other).await?.code == 201);
    }
    ensure!(admin.names(shop, LEVELS).await? == ["api-checkout-application", "api-checkout-task"]);
    ensure!(admin.names(shop, &format!("{LEVELS}?namespace=bank")).await?.is_empty());
    ensure!(admin.names(editor, LEVELS).await?.len() == 4);
    ensure!(admin.get(shop, &format!("{LEVELS}/api-checkout-application?namespace=bank")).await?.code == 404);
    // Without an end it is the default of its scope: the one that is there, no matter who made it.
    let defaults: Api<ClusterLogLevelConfig> = Api::all(cluster.client.clone());
    let made: ClusterLogLevelConfig = serde_json::from_value(json!({
        "apiVersion": "cordwood.dev/v1alpha1", "kind": "ClusterLogLevelConfig", "metadata": {"name": "by-hand"},
        "spec": {"level": "INFO", "default": true},
    }))?;
    defaults.create(&PostParams::default(), &made).await?;
    let put = admin.send(editor, "PUT", LEVELS, &json!({"level": "WARN"})).await?;
    ensure!(put.code == 200 && put.json()?["metadata"]["name"] == "by-hand", "{}", put.text());
    let put = admin.send(editor, "PUT", LEVELS, &json!({"level": "DEBUG", "scope": "task"})).await?;
    ensure!(put.code == 201 && put.json()?["spec"]["default"] == true, "{}", put.text());
    for (body, field) in [
        (json!({"level": "LOUD"}), "level"),
        (json!({}), "level"),
        (json!({"level": "WARN", "scope": "job"}), "scope"),
        (json!({"level": "WARN", "target": 5}), "target"),
        (json!({"level": "WARN", "target": "x"}), "ttlSeconds"),
        (json!({"level": "WARN", "namespace": "shop"}), "ttlSeconds"),
        (json!({"level": "WARN", "ttlSeconds": "30m"}), "ttlSeconds"),
        (json!({"level": "WARN", "ttlSeconds": 604_801}), "ttlSeconds"),
        (json!({"level": "WARN", "expiresAt": "tomorrow"}), "expiresAt"),
        (json!({"level": "WARN", "ttlSeconds": 5, "sample": 2}), "sample"),
        (json!({"level": "WARN", "ttlSeconds": 5, "target": {"containers": ["A B"]}}), "target.containers"),
        (
            json!({"level": "WARN", "ttlSeconds": 5, "target": {"matchLabels": {"a b": "c"}}}),
            "target.matchLabels",
        ),
        (json!({"level": "WARN", "ttlSeconds": 5, "namespace": "a/b"}), "namespace"),
        (json!({"level": "WARN", "minutes": 5}), "minutes"),
    ] {
        let put = admin.send(editor, "PUT", LEVELS, &body).await?;
        ensure!(
            put.code == 422 && put.json()?["errors"][0]["field"] == field,
            "{body}: {} {}",
            put.code,
            put.text()
        );
    }
    // A namespace that is not there.
    let put = admin
        .send(editor, "PUT", LEVELS, &json!({"namespace": "nowhere", "level": "WARN", "ttlSeconds": 5}))
        .await?;
    ensure!(put.code == 404, "{} {}", put.code, put.text());
    let gone = admin
        .send(shop, "DELETE", &format!("{LEVELS}/api-checkout-application?namespace=shop"), &json!({}))
        .await?;
    ensure!(gone.code == 204, "{}", gone.text());
    let gone = admin
        .send(shop, "DELETE", &format!("{LEVELS}/api-checkout-application?namespace=shop"), &json!({}))
        .await?;
    ensure!(gone.code == 404, "{}", gone.text());
    Ok(())
}
