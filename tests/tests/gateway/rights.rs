//! In a cluster: who sees what on every route, by the rights of a real API server; what is taken away is refused, and what the API server does
//! not say is not guessed.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use cordwood_core::agents::{Agent, Agents};
use cordwood_core::level::Level;
use cordwood_core::origin::Origin;
use cordwood_core::record::Flags;
use cordwood_core::signature::error_group;
use cordwood_crds::{ClusterLogLevelConfig, LogLevelConfig, LogRetentionPolicy};
use cordwood_gateway::{Administration, AdministrationConfig, AgentsSource, Limits};
use cordwood_tests::env::wait_for;
use cordwood_tests::http::{Answer, ask, open};
use k8s_openapi::api::rbac::v1::RoleBinding;
use kube::Api;
use kube::api::{DeleteParams, PostParams};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};

use super::cluster::{HOME, Kubernetes, RESOURCES, access, install};
use super::world::{Line, NO_GROUP, World, container, counted, ids, line, now_us, recent_us};

const PATIENCE: Duration = Duration::from_secs(30);
/// All records are of it.
const PLUGIN: &str = "billing";

pub struct Stored {
    pub tenant: &'static str,
    pub namespace: &'static str,
    pub audit: bool,
    /// Older than the namespaces are: of others, which had these names before.
    pub old: bool,
    pub id: String,
    /// In this record's body and in no other.
    secret: String,
    /// Its group of errors, which may be others' too.
    signature: String,
}

pub type Sources = Vec<(Origin, Vec<Line>)>;

/// Once the namespaces are there.
pub fn stored() -> (Sources, Vec<Stored>) {
    let now_us = now_us();
    let places = [
        ("acme", "shop", false),
        ("acme", "bank", false),
        ("umbrella", "shop", false),
        ("umbrella", "lab", false),
        ("acme", "", false),
        ("acme", "shop", true),
    ];
    let (mut sources, mut stored) = (Vec::new(), Vec::new());
    for (number, (tenant, namespace, old)) in (0u32..).zip(places) {
        let time_us = if old { recent_us() } else { now_us } + i64::from(number);
        let secret = |audit: bool| format!("{}{number}{audit}", if old { "former" } else { "secret" });
        let lines = vec![
            line(time_us, Level::Warn, secret(false)),
            Line {
                flags: Flags::AUDIT,
                ..line(time_us, Level::Error, format!(r#"{{"is_audit":true,"message":"{}"}}"#, secret(true)))
            },
        ];
        let signatures: Vec<String> =
            lines.iter().map(|line| error_group(line.body.as_bytes()).signature.to_string()).collect();
        sources.push((Origin { plugin: PLUGIN.into(), ..container(tenant, namespace, number) }, lines));
        for audit in [false, true] {
            let id = format!("{time_us}.0-{number}-{}", u8::from(audit));
            let signature = signatures[usize::from(audit)].clone();
            stored.push(Stored { tenant, namespace, audit, old, id, secret: secret(audit), signature });
        }
    }
    (sources, stored)
}

/// What a route says to somebody; of a stream, what it says before it has caught up.
async fn everything(address: &str, token: &str, path: &str, accept: &str) -> Result<Answer> {
    let bearer = format!("Bearer {token}");
    let headers = [("Authorization", bearer.as_str()), ("Accept", accept)];
    if !path.contains("/stream") {
        return ask(address, "GET", path, &headers).await;
    }
    let mut lines = BufReader::new(open(address, "GET", path, &headers).await?).lines();
    let mut body = String::new();
    while let Some(line) = tokio::time::timeout(PATIENCE, lines.next_line()).await?? {
        body.push_str(&line);
        if line.contains(r#""caughtUp""#) {
            break;
        }
    }
    Ok(Answer { code: 200, headers: Default::default(), body: body.into_bytes() })
}

/// The paths that any known caller may read.
fn paths_of_callers() -> Result<Vec<String>> {
    let document: Value = serde_json::from_str(&cordwood_gateway::openapi_json())?;
    let paths = document["paths"].as_object().context("no paths")?;
    let asks_who = |item: &Value| item["get"]["security"].to_string().contains("token");
    Ok(paths.iter().filter(|(_, item)| asks_who(item)).map(|(path, _)| path.clone()).collect())
}

/// Each request has the same name, so that equal refusals are equal.
async fn get_as(address: &str, token: &str, path: &str) -> Result<Answer> {
    let bearer = format!("Bearer {token}");
    ask(address, "GET", path, &[("Authorization", &bearer), ("X-Request-Id", "test")]).await
}

pub type May = fn(&Stored) -> bool;

/// What is administered: level configs of two namespaces and of the cluster, a policy, the tenant that it is about, an agent's node.
const NAMES: [&str; 6] =
    ["hidden-shop", "hidden-bank", "hidden-cluster", "hidden-policy", "hidden-tenant", "hidden-node"];

/// Where these are asked for.
fn resources_at(path: &str) -> Vec<String> {
    let named: Vec<String> = if path.contains("{name}") {
        NAMES[..4].iter().map(|name| path.replace("{name}", name)).collect()
    } else {
        vec![path.to_owned()]
    };
    let namespaces: &[&str] =
        if path.contains("/levels") { &["", "?namespace=shop", "?namespace=bank"] } else { &[""] };
    named.iter().flat_map(|path| namespaces.iter().map(move |query| format!("{path}{query}"))).collect()
}

async fn make_resources(cluster: &Kubernetes) -> Result<()> {
    install(cluster).await?;
    let object = |kind: &str, name: &str, spec: Value| json!({"apiVersion": "cordwood.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec});
    let create = PostParams::default();
    for namespace in ["shop", "bank"] {
        let config = object(
            "LogLevelConfig",
            &format!("hidden-{namespace}"),
            json!({"level": "WARN", "duration": "1h"}),
        );
        let api: Api<LogLevelConfig> = Api::namespaced(cluster.client.clone(), namespace);
        api.create(&create, &serde_json::from_value(config)?).await?;
    }
    let config =
        object("ClusterLogLevelConfig", "hidden-cluster", json!({"level": "WARN", "duration": "1h"}));
    Api::<ClusterLogLevelConfig>::all(cluster.client.clone())
        .create(&create, &serde_json::from_value(config)?)
        .await?;
    let policy =
        object("LogRetentionPolicy", "hidden-policy", json!({"match": {"tenants": ["hidden-tenant"]}}));
    Api::<LogRetentionPolicy>::all(cluster.client.clone())
        .create(&create, &serde_json::from_value(policy)?)
        .await?;
    let rule = |resources: &[&str]| json!([{"apiGroups": ["cordwood.dev"], "resources": resources, "verbs": ["get", "list"]}]);
    for (role, resources) in
        [("resources", &RESOURCES[..]), ("levels", &RESOURCES[1..2]), ("agents", &["agents"])]
    {
        cluster.cluster_role(role, rule(resources)).await?;
    }
    cluster.bind("gateway", "resources", "").await
}

/// Every route shows somebody just those records and `resources` that they may see, and all of them.
pub async fn sees_just(
    address: &str,
    token: &str,
    name: &str,
    stored: &[Stored],
    may: May,
    resources: &[&str],
) -> Result<()> {
    let mut named = BTreeSet::new();
    let paths = paths_of_callers()?;
    let start = stored.iter().map(|record| record.id.as_str()).min().context("none")?.split('.').next();
    let before = format!("after={}.0-0-0", start.context("no time")?.parse::<i64>()? - 1);
    let mut shown = BTreeSet::new();
    for path in &paths {
        let places: Vec<String> = if path.contains("{task_id}") {
            vec![path.replace("{task_id}", "t")]
        } else if path.contains("/plugins/") {
            vec![path.replace("{id}", PLUGIN).replace("{pluginId}", PLUGIN)]
        } else if path.contains("/admin/") {
            resources_at(path)
        } else if path.contains("{signature}") {
            stored.iter().map(|record| path.replace("{signature}", &record.signature)).collect()
        } else if path.contains("{id}") {
            stored.iter().map(|record| path.replace("{id}", &record.id)).collect()
        } else if path.contains("/stream") {
            vec![format!("{path}?{before}"), format!("{path}?{before}&namespace=shop")]
        } else {
            let queries = [
                "",
                "?namespace=shop",
                "?namespace=bank",
                "?tenant=acme",
                "?filter=namespace%3Dlab+OR+tenant%3Aacme",
            ];
            queries.iter().map(|query| format!("{path}{query}")).collect()
        };
        ensure!(places.iter().all(|place| !place.contains('{')), "how is {path} asked for?");
        for place in places {
            let forms = ["application/json", "application/x-ndjson", "text/plain"];
            for accept in &forms[..if path.contains("/admin/") { 1 } else { forms.len() }] {
                let answer = everything(address, token, &place, accept).await?;
                ensure!(answer.code < 500, "{name}: {place}: {}", answer.text());
                let text = answer.text();
                for hidden in NAMES.into_iter().filter(|hidden| text.contains(hidden)) {
                    ensure!(resources.contains(&hidden), "{name}: {place}: {text}");
                    named.insert(hidden);
                }
                for record in stored {
                    let is_told =
                        text.contains(&record.secret) || answer.code == 200 && text.contains(&record.id);
                    ensure!(may(record) || !is_told, "{name}: {place} {accept}: {text}");
                    if is_told {
                        shown.insert(record.id.as_str());
                    }
                }
            }
        }
    }
    let expected: BTreeSet<&str> =
        stored.iter().filter(|record| may(record)).map(|record| record.id.as_str()).collect();
    ensure!(shown == expected, "{name}: {shown:?}, expected {expected:?}");
    ensure!(named == resources.iter().copied().collect(), "{name}: {named:?}, expected {resources:?}");
    // All of it in one answer, and counted.
    let found: BTreeSet<String> =
        ids(&get_as(address, token, "/api/platform/logs").await?.json()?).into_iter().collect();
    ensure!(found.iter().map(String::as_str).eq(expected.iter().copied()), "{name}: {found:?}");
    let histogram = get_as(address, token, "/api/platform/logs/histogram").await?.json()?;
    ensure!(histogram["records"] == expected.len(), "{name}: {histogram}");
    let groups = "/api/platform/logs/aggregates";
    let listed = get_as(address, token, groups).await?.json()?;
    ensure!(counted(&listed) == expected.len() as u64, "{name}: {listed}");
    let no_group = get_as(address, token, &format!("{groups}/{NO_GROUP}")).await?;
    for record in stored {
        let of = stored.iter().filter(|other| other.signature == record.signature && may(other)).count();
        let answer = get_as(address, token, &format!("{groups}/{}", record.signature)).await?;
        if of == 0 {
            ensure!(answer.code == 404 && answer.body == no_group.body, "{name}: {}", answer.text());
        } else {
            ensure!(answer.json()?["count"] == of, "{name}: {}", answer.text());
        }
    }
    let facets = get_as(address, token, "/api/platform/logs/facets?field=pod&field=tenant").await?.text();
    for (number, pair) in stored.chunks(2).enumerate() {
        ensure!(facets.contains(&format!("\"pod-{number}\"")) == pair.iter().any(may), "{name}: {facets}");
    }
    // What is forbidden reads as what is not there.
    let nowhere = get_as(address, token, "/api/platform/logs/1.0-0-0").await?;
    for record in stored.iter().filter(|record| !may(record)) {
        let answer = get_as(address, token, &format!("/api/platform/logs/{}", record.id)).await?;
        ensure!(answer.code == 404 && answer.body == nowhere.body, "{name}: {}", answer.text());
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn no_route_shows_anybody_what_the_cluster_does_not_grant() -> Result<()> {
    let cluster = Kubernetes::start().await?;
    let (sources, stored) = stored();
    let config = cluster.gateway().await?;
    make_resources(&cluster).await?;
    let access = access(&config).await?;
    let switched_on = AdministrationConfig { enabled: true, ..AdministrationConfig::default() };
    let administration = Administration::of_cluster(&switched_on, &access);
    let agent = Agent { node: "hidden-node".to_owned(), ..Agent::default() };
    let agents = AgentsSource::here(move || Agents { agents: vec![agent.clone()], ..Agents::default() });
    let world = World::whose(15, &sources, access, Limits::default(), |gateway| {
        gateway.administering(administration).showing_agents(Some(agents))
    })
    .await?;
    for (name, role, namespace) in [
        ("all", "audit", ""),
        ("reader", "logs", ""),
        ("tenant", "acme", ""),
        ("shop", "logs", "shop"),
        ("auditor", "audit", "shop"),
        ("pods", "pods-log", "shop"),
        ("levels", "logs", "shop"),
        ("levels", "levels", "shop"),
        ("admin", "resources", ""),
        ("admin", "agents", ""),
    ] {
        cluster.token(name, "cordwood").await?;
        cluster.bind(name, role, namespace).await?;
    }
    let callers: [(&str, May); 9] = [
        ("all", |_| true),
        ("reader", |record| !record.audit),
        ("tenant", |record| record.tenant == "acme" && !record.audit),
        ("shop", |record| record.namespace == "shop" && !record.audit && !record.old),
        ("auditor", |record| record.namespace == "shop" && !record.old),
        ("pods", |_| false),
        ("nobody", |_| false),
        ("levels", |record| record.namespace == "shop" && !record.audit && !record.old),
        ("admin", |_| false),
    ];
    for (name, may) in callers {
        let (resources, administers): (&[&str], _) = match name {
            "levels" => (&NAMES[..1], ["none", "see", "none", "none"]),
            "admin" => (&NAMES, ["see", "see", "see", "see"]),
            _ => (&[], ["none"; 4]),
        };
        let token = cluster.token(name, "cordwood").await?;
        sees_just(&world.address, &token, name, &stored, may, resources).await?;
        let me = world.get_as(&token, "/api/whoami").await?.json()?;
        let told = &me["administration"];
        let told = ["retention", "levels", "clusterLevels", "agents"]
            .map(|field| told[field].as_str().unwrap_or_default());
        ensure!(told == administers, "{me}");
        ensure!(
            me["name"] == format!("system:serviceaccount:{HOME}:{name}") && me["knownBy"] == "kubernetes",
            "{me}"
        );
        ensure!(me["more"].as_str().is_some_and(|more| more.contains(name)) == (name != "all"), "{me}");
    }
    // A token that is for somebody else, and no token.
    let paths = paths_of_callers()?;
    for token in [cluster.token("all", "").await?, cluster.token("all", "other").await?, "x".to_owned()] {
        for path in &paths {
            let path =
                path.replace("{id}", "1.0-0-0").replace("{task_id}", "t").replace("{signature}", NO_GROUP);
            let path = path.replace("{name}", "default");
            let answer = world.get_as(&token, &path).await?;
            ensure!(answer.code == 401, "{path}: {}", answer.code);
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_taken_away_is_refused_and_what_nobody_says_is_not_guessed() -> Result<()> {
    let mut cluster = Kubernetes::start().await?;
    let (sources, _) = stored();
    let mut config = cluster.gateway().await?;
    (config.allow_ms, config.deny_ms, config.accept_pods_log) = (100, 100, true);
    let world = World::start(18, &sources, access(&config).await?, Limits::default()).await?;
    let count = async |token: &str, query: &str| {
        let answer = world.get_as(token, &format!("/api/platform/logs{query}")).await?;
        ensure!(answer.code == 200, "{}", answer.text());
        Ok(ids(&answer.json()?).len())
    };
    let (shop, pods) = (cluster.token("shop", "cordwood").await?, cluster.token("pods", "cordwood").await?);
    ensure!(count(&shop, "").await? == 0);
    cluster.bind("shop", "logs", "shop").await?;
    cluster.bind("pods", "pods-log", "shop").await?;
    for token in [&shop, &pods] {
        wait_for("what was granted to be seen", PATIENCE, || async {
            ensure!(count(token, "").await? == 2);
            Ok(())
        })
        .await?;
    }
    // Taken away again.
    let bindings: Api<RoleBinding> = Api::namespaced(cluster.client.clone(), "shop");
    bindings.delete("shop-logs", &DeleteParams::default()).await?;
    wait_for("what was taken away to be refused", PATIENCE, || async {
        ensure!(count(&shop, "").await? == 0 && count(&shop, "?namespace=shop").await? == 0);
        Ok(())
    })
    .await?;
    // More namespaces than can be asked for: one has to be named.
    let sql = world.postgres.client_of(super::world::DATABASE).await?;
    sql.batch_execute(
        "insert into origins (id, tenant, tenant_id, namespace, pod, pod_uid, container, node, service, workload, environment, \
         version, region, plugin, path) select n, 'acme', 'acme', 'n' || n, '', '', '', '', '', '', '', '', '', '', '' \
         from generate_series(1, 200) n",
    )
    .await?;
    wait_for("so many namespaces to be known", Duration::from_secs(60), || async {
        let answer = world.get_as(&pods, "/api/platform/logs").await?;
        ensure!(answer.code == 400 && answer.text().contains("namespace=NAME"), "{}", answer.text());
        Ok(())
    })
    .await?;
    ensure!(count(&pods, "?namespace=shop").await? == 2);
    ensure!(count(&pods, "?filter=namespace%3Dshop").await? == 2);
    // Away: who is known is answered as before, who is not is told to come back.
    let unknown = cluster.token("unknown", "cordwood").await?;
    cluster.server.kill();
    tokio::time::sleep(Duration::from_millis(2 * config.allow_ms)).await;
    ensure!(count(&pods, "?namespace=shop").await? == 2);
    let answer = world.get_as(&unknown, "/api/platform/logs?namespace=shop").await?;
    ensure!(answer.code == 503 && answer.headers.contains_key("retry-after"), "{}", answer.text());
    let metrics = world.metrics()?;
    for labels in [r#"{answer="none",kind="token"}"#, r#"{answer="yes",kind="access"}"#] {
        ensure!(metrics.contains(&format!("cordwood_gateway_reviews_total{labels}")), "{metrics}");
    }
    cluster.server.restart().await?;
    wait_for("who was not known to be known", PATIENCE, || async {
        ensure!(count(&unknown, "?namespace=shop").await? == 0);
        Ok(())
    })
    .await
}
