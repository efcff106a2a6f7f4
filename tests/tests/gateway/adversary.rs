//! What somebody tries who may see one namespace, to see another's records and resources: by other names for them, by other places to put
//! a token or a right, by what answers say beside their records.

use std::sync::{Arc, Mutex};

use anyhow::{Result, ensure};
use cordwood_core::agents::{Agent, Agents};
use cordwood_core::level::Level;
use cordwood_core::origin::Origin;
use cordwood_crds::{ClusterLogLevelConfig, LogLevelConfig, LogRetentionPolicy};
use cordwood_gateway::{Administration, AdministrationConfig, AgentsSource, Audit, Limits};
use cordwood_tests::http::{Answer, ask, send};
use kube::Api;
use kube::api::PostParams;
use serde_json::{Value, json};

use super::adversary_reads as reads;
use super::adversary_sideways as sideways;
use super::adversary_ways as ways;
use super::cluster::{Kubernetes, RESOURCES, access, install};
use super::world::{Line, World, container, line, now_us};

/// In each name, value and text of what the attackers may not see.
pub(super) const SECRET: &str = "quince";

pub(super) struct Attack {
    pub(super) world: World,
    pub(super) cluster: Kubernetes,
    pub(super) told: Arc<Mutex<String>>,
    /// Has the levels of shop.
    pub(super) levels: String,
    /// Sees the records of shop, by a group.
    pub(super) reader: String,
    /// May change the policy `kept` and no other.
    pub(super) editor: String,
    /// Announces and deletes tasks of shop.
    pub(super) keeper: String,
    /// Sees all records of the other tenant.
    pub(super) other: String,
}

impl Attack {
    pub(super) async fn with(
        &self,
        token: &str,
        method: &str,
        path: &str,
        more: &[(&str, &str)],
    ) -> Result<Answer> {
        let bearer = format!("Bearer {token}");
        let headers = [&[("Authorization", bearer.as_str()), ("X-Request-Id", "test")], more].concat();
        ask(&self.world.address, method, path, &headers).await
    }

    pub(super) async fn send(&self, token: &str, method: &str, path: &str, body: &str) -> Result<Answer> {
        let bearer = format!("Bearer {token}");
        let headers = [("Authorization", bearer.as_str()), ("X-Request-Id", "test")];
        send(&self.world.address, method, path, &headers, body).await
    }
}

/// Nothing of others is in it, and nothing broke.
pub(super) fn holds(what: &str, answer: &Answer) -> Result<()> {
    ensure!(answer.code < 500, "{what}: {}", answer.text());
    let headers = answer.headers.values().any(|value| value.contains(SECRET));
    ensure!(!headers && !answer.text().contains(SECRET), "{what}: {} {}", answer.code, answer.text());
    Ok(())
}

/// It is refused, by one of these codes.
pub(super) fn refused(what: &str, answer: &Answer, codes: &[u16]) -> Result<()> {
    holds(what, answer)?;
    ensure!(codes.contains(&answer.code), "{what}: {} {}", answer.code, answer.text());
    Ok(())
}

pub(super) fn lines(at: i64, word: &str) -> Vec<Line> {
    let body = |n: u32| {
        format!(
            r#"{{"level":"error","taskId":"job","traceId":"{word}-trace","plugin":"{word}-plugin","error":{{"type":"{word}Error"}},"message":"{word} broke {n}"}}"#
        )
    };
    (0..3).map(|n| line(at + i64::from(n), Level::Error, body(n))).collect()
}

pub(super) fn origin(tenant: &str, namespace: &str, number: u32, word: &str) -> Origin {
    let (service, plugin) = (format!("{word}-service"), format!("{word}-plugin"));
    Origin {
        service,
        plugin,
        pod: format!("{word}-pod"),
        node: format!("{word}-node"),
        ..container(tenant, namespace, number)
    }
}

async fn attack() -> Result<Attack> {
    let cluster = Kubernetes::start().await?;
    install(&cluster).await?;
    let at = now_us();
    let config = cluster.gateway().await?;
    let rule = |resources: &[&str], verbs: &[&str], names: &[&str]| json!([{"apiGroups": ["cordwood.dev"], "resources": resources, "verbs": verbs, "resourceNames": names}]);
    let all = ["get", "list", "create", "update", "delete"];
    for (role, resources, verbs, names) in [
        ("administers", &RESOURCES[..], &["get", "list", "create", "patch", "delete"][..], &[][..]),
        ("edits-levels", &RESOURCES[1..2], &all, &[]),
        ("edits-one", &RESOURCES[..1], &["get", "update", "delete"], &["kept"]),
    ] {
        cluster.cluster_role(role, rule(resources, verbs, names)).await?;
    }
    cluster.bind("gateway", "administers", "").await?;
    let create = PostParams::default();
    let object = |kind: &str, name: &str, spec: Value| json!({"apiVersion": "cordwood.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec});
    let level = |name: &str| {
        object(
            "LogLevelConfig",
            name,
            json!({"level": "WARN", "duration": "1h", "service": format!("{name}-service")}),
        )
    };
    for (namespace, name) in [("shop", "own"), ("bank", "quince")] {
        let api: Api<LogLevelConfig> = Api::namespaced(cluster.client.clone(), namespace);
        api.create(&create, &serde_json::from_value(level(name))?).await?;
    }
    let api: Api<ClusterLogLevelConfig> = Api::all(cluster.client.clone());
    let config_of_all =
        object("ClusterLogLevelConfig", "quince-all", json!({"level": "WARN", "duration": "1h"}));
    api.create(&create, &serde_json::from_value(config_of_all)?).await?;
    let api: Api<LogRetentionPolicy> = Api::all(cluster.client.clone());
    for (name, tenant, priority) in [("kept", "acme", 1), ("quince-policy", "quince-tenant", 2)] {
        let policy =
            object("LogRetentionPolicy", name, json!({"match": {"tenants": [tenant]}, "priority": priority}));
        api.create(&create, &serde_json::from_value(policy)?).await?;
    }
    let group = json!({"kind": "Group", "name": "system:serviceaccounts:people", "apiGroup": "rbac.authorization.k8s.io"});
    cluster.bind_subject("people", group, "logs", "shop").await?;
    let token = async |name: &str| cluster.token(name, "cordwood").await;
    let (levels, reader, editor) = (token("levels").await?, token("reader").await?, token("editor").await?);
    let (keeper, other) = (token("keeper").await?, token("other").await?);
    let tasks =
        json!([{"apiGroups": ["cordwood.dev"], "resources": ["tasklogs"], "verbs": ["get", "delete"]}]);
    cluster.cluster_role("tasks", tasks).await?;
    let tenant = json!([{"apiGroups": ["cordwood.dev"], "resources": ["tenants/logs"], "resourceNames": ["quince-tenant"], "verbs": ["get"]}]);
    cluster.cluster_role("quince-tenant", tenant).await?;
    cluster.bind("keeper", "tasks", "shop").await?;
    cluster.bind("other", "quince-tenant", "").await?;
    cluster.bind("levels", "edits-levels", "shop").await?;
    cluster.bind("editor", "edits-one", "").await?;
    let access = access(&config).await?;
    let switched_on = AdministrationConfig { enabled: true, ..AdministrationConfig::default() };
    let administration = Administration::of_cluster(&switched_on, &access);
    let agent = Agent { node: "quince-node".to_owned(), ..Agent::default() };
    let agents = AgentsSource::here(move || Agents { agents: vec![agent.clone()], ..Agents::default() });
    let told = Arc::new(Mutex::new(String::new()));
    let into = Arc::clone(&told);
    let audit = Audit::to(false, move |line| {
        into.lock().map_err(|_| std::io::ErrorKind::Other)?.push_str(&String::from_utf8_lossy(line));
        Ok(())
    });
    let sources = [
        (origin("acme", "shop", 1, "apple"), lines(at, "apple")),
        (origin("quince-tenant", "bank", 2, "quince"), lines(at + 10, "quince")),
    ];
    let world = World::whose(15, &sources, access, Limits::default(), |gateway| {
        gateway.administering(administration).showing_agents(Some(agents)).audited(audit)
    })
    .await?;
    Ok(Attack { world, cluster, told, levels, reader, editor, keeper, other })
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_reaches_what_is_anothers() -> Result<()> {
    let attack = attack().await?;
    let mut failed = Vec::new();
    let mut note = |what: &str, result: Result<()>| {
        if let Err(error) = result {
            failed.push(format!("{what}: {error:#}"));
        }
    };
    note("names", other_names_of_resources(&attack).await);
    note("bodies", bodies_that_name_others(&attack).await);
    note("one policy", who_may_change_one_policy_learns_of_no_other(&attack).await);
    note("places", reads::other_places_for_a_token_or_a_right(&attack).await);
    note("names of namespaces", reads::other_names_of_namespaces(&attack).await);
    note("sides", reads::what_answers_say_beside_records(&attack).await);
    note("tasks", reads::tasks_of_others(&attack).await);
    note("files", reads::files_of_the_interface(&attack).await);
    note("audit", reads::who_looked_is_told_as_it_was(&attack).await);
    sideways::prepare(&attack).await?;
    note("ids of others", sideways::what_is_theirs_is_as_what_is_nowhere(&attack).await);
    note("neighbours", sideways::names_that_are_almost_ones_own(&attack).await);
    note("filters", sideways::filters_that_turn_around(&attack).await);
    note("patterns", sideways::signs_that_mean_more_in_the_database(&attack).await);
    note("one error", sideways::an_error_that_both_have(&attack).await);
    note("streams", sideways::streams_that_change_their_mind(&attack).await);
    note("connections", ways::connections_that_carry_more_than_one(&attack).await);
    note("tokens", ways::tokens_that_were_bent(&attack).await);
    note("deletions", ways::deletions_and_announcements(&attack).await);
    ensure!(failed.is_empty(), "{}", failed.join("\n----\n"));
    Ok(())
}

async fn other_names_of_resources(attack: &Attack) -> Result<()> {
    let names = [
        "quince",
        "QUINCE",
        "quince%20",
        "quince.",
        "%71uince",
        "quin%63e",
        "..%2fbank%2fquince",
        "../bank/quince",
        "%2e%2e%2fbank%2floglevelconfigs%2fquince",
        "..",
        ".",
        "%2e%2e",
        "qu%D1%96nce",
        "quince%00",
        "quince%0a",
        "quince?x",
        "quince;x",
        "quince%3Fx",
        "quince%23x",
        "quince%2fstatus",
        "quince/status",
        "*",
        "%2a",
        "",
        "%",
        "%zz",
        "%ff%fe",
        "quince%E2%80%8B",
        "quince-all",
        "%EF%BC%91",
        "own%2f..%2fquince",
    ];
    let spaces = [
        "",
        "?namespace=",
        "?namespace=shop",
        "?namespace=bank",
        "?namespace=shop%2f..%2fbank",
        "?namespace=..",
        "?namespace=*",
        "?namespace=shop&namespace=bank",
        "?namespace=bank%00",
        "?namespace=BANK",
        "?namespace=shop%2fbank",
        "?namespace=shop,bank",
        "?namespace=%20bank",
        "?labelSelector=x",
        "?fieldSelector=metadata.name%3Dquince",
        "?continue=x",
        "?limit=1",
    ];
    for name in names {
        for space in spaces {
            for kind in ["levels", "retention"] {
                let path = format!("/api/admin/{kind}/{name}{space}");
                let answer = attack.with(&attack.levels, "GET", &path, &[]).await?;
                // (A name in an address is said back where it is no name; that is the caller's own.)
                let own = answer.text().replace(name, "");
                ensure!(
                    answer.code < 500 && !own.contains("quince-service") && !own.contains("uid"),
                    "{path}: {own}"
                );
                ensure!(
                    [400, 404].contains(&answer.code) || name.is_empty(),
                    "{path}: {} {own}",
                    answer.code
                );
            }
        }
    }
    for space in spaces {
        let answer = attack.with(&attack.levels, "GET", &format!("/api/admin/levels{space}"), &[]).await?;
        holds(space, &answer)?;
    }
    for path in [
        "/api/admin/agents",
        "/api/admin/agents/",
        "/api/admin/agents?node=quince-node",
        "/api/admin//agents",
        "/api/admin/levels/../agents",
    ] {
        for method in ["GET", "HEAD", "POST", "OPTIONS"] {
            refused(path, &attack.with(&attack.levels, method, path, &[]).await?, &[400, 404, 405])?;
        }
    }
    let absent = attack.with(&attack.levels, "GET", "/api/admin/levels/nothing?namespace=bank", &[]).await?;
    let there = attack.with(&attack.levels, "GET", "/api/admin/levels/quince?namespace=bank", &[]).await?;
    ensure!(absent.code == 404 && absent.body == there.body, "{} {}", absent.text(), there.text());
    Ok(())
}

async fn bodies_that_name_others(attack: &Attack) -> Result<()> {
    let level = |metadata: Value, kind: &str| json!({"apiVersion": "cordwood.dev/v1alpha1", "kind": kind, "metadata": metadata, "spec": {"level": "ERROR", "duration": "1h"}});
    let one = "LogLevelConfig";
    for (path, body) in [
        ("", level(json!({"name": "a", "namespace": "bank"}), one)),
        ("", level(json!({"name": "a", "namespace": "shop/../bank"}), one)),
        ("", level(json!({"name": "../../bank/loglevelconfigs/x", "namespace": "shop"}), one)),
        ("", level(json!({"name": "a"}), "ClusterLogLevelConfig")),
        ("", level(json!({"name": "a", "namespace": "shop"}), "ClusterLogLevelConfig")),
        ("", level(json!({"name": "a", "namespace": ""}), one)),
        ("", level(json!({"name": "a", "namespace": "shop"}), "Secret")),
        ("/a?namespace=shop", level(json!({"name": "a", "namespace": "bank"}), one)),
        ("/a?namespace=shop", level(json!({"name": "b", "namespace": "shop"}), one)),
        ("/quince?namespace=bank", level(json!({}), one)),
        ("/quince-all", level(json!({}), "ClusterLogLevelConfig")),
        ("/a?namespace=shop", level(json!({"resourceVersion": "0"}), one)),
        ("/own?namespace=shop", level(json!({"resourceVersion": "0"}), one)),
        ("", json!({"namespace": "bank", "target": "quince-service", "level": "ERROR", "ttlSeconds": 60})),
        (
            "",
            json!({"namespace": "shop", "target": {"namespace": "bank"}, "level": "ERROR", "ttlSeconds": 60}),
        ),
        ("", json!({"namespace": ["shop", "bank"], "level": "ERROR", "ttlSeconds": 60})),
        ("", json!({"target": "own-service", "level": "ERROR", "ttlSeconds": 60})),
        ("", json!({"level": "ERROR"})),
    ] {
        for method in ["PUT", "POST"] {
            let path = format!("/api/admin/levels{path}");
            let answer = attack.send(&attack.levels, method, &path, &body.to_string()).await?;
            refused(&format!("{method} {path} {body}"), &answer, &[400, 404, 405, 409, 422])?;
        }
    }
    // Of two fields of one name the one that is checked is the one that is written.
    let twice = r#"{"apiVersion":"cordwood.dev/v1alpha1","kind":"LogLevelConfig","metadata":{"name":"a","namespace":"bank"},"metadata":{"name":"twice","namespace":"shop"},"spec":{"level":"ERROR","duration":"1h"}}"#;
    let answer = attack.send(&attack.levels, "PUT", "/api/admin/levels", twice).await?;
    ensure!([201, 400, 422].contains(&answer.code), "{}", answer.text());
    let bank: Api<LogLevelConfig> = Api::namespaced(attack.cluster.client.clone(), "bank");
    ensure!(bank.list(&Default::default()).await?.items.len() == 1);
    // Of the metadata nothing is written but the name.
    let more = json!({
        "name": "more", "namespace": "shop", "uid": "u", "generateName": "x", "finalizers": ["a.b/c"], "labels": {"a": "b"}, "annotations": {"a": "b"},
        "ownerReferences": [{"apiVersion": "v1", "kind": "Namespace", "name": "bank", "uid": "u"}], "managedFields": [], "deletionTimestamp": "2020-01-01T00:00:00Z",
    });
    let answer =
        attack.send(&attack.levels, "PUT", "/api/admin/levels", &level(more, one).to_string()).await?;
    ensure!(answer.code == 201, "{}", answer.text());
    let shop: Api<LogLevelConfig> = Api::namespaced(attack.cluster.client.clone(), "shop");
    let written = shop.get("more").await?.metadata;
    let plain =
        written.finalizers.is_none() && written.owner_references.is_none() && written.labels.is_none();
    ensure!(plain && written.annotations.is_none() && written.deletion_timestamp.is_none(), "{written:?}");
    for (path, headers) in [
        ("/quince?namespace=bank", &[][..]),
        ("/quince-all", &[]),
        ("/own?namespace=bank", &[]),
        ("/own?namespace=shop", &[("If-Match", "\"0\"")]),
        ("/own?namespace=shop", &[("If-Match", "*")]),
    ] {
        let answer =
            attack.with(&attack.levels, "DELETE", &format!("/api/admin/levels{path}"), headers).await?;
        refused(path, &answer, &[400, 404, 409])?;
    }
    Ok(())
}

async fn who_may_change_one_policy_learns_of_no_other(attack: &Attack) -> Result<()> {
    let policy = |name: &str, spec: Value| {
        json!({"apiVersion": "cordwood.dev/v1alpha1", "kind": "LogRetentionPolicy", "metadata": {"name": name}, "spec": spec}).to_string()
    };
    for spec in [
        json!({"match": {"tenants": ["acme"]}, "priority": 1}),
        json!({"match": {"tenants": ["quince-tenant"]}, "priority": 999_999}),
        json!({"match": {}, "priority": 999_999}),
        json!({"match": {"namespaces": ["bank"]}, "retention": {"info": "1h", "error": "1h"}, "gracePeriod": "0s"}),
        json!({"match": {"tenants": ["acme"]}, "legalHold": true}),
        json!({"match": {"tenants": ["acme"]}, "dropLimit": {"bytes": 1}}),
    ] {
        let answer = attack
            .send(&attack.editor, "PUT", "/api/admin/retention?preview=true", &policy("kept", spec.clone()))
            .await?;
        ensure!(answer.code == 200, "{}", answer.text());
        ensure!(!answer.text().replace("quince-tenant", "").contains(SECRET), "{spec}: {}", answer.text());
    }
    let gone = attack.with(&attack.editor, "DELETE", "/api/admin/retention/kept?preview=true", &[]).await?;
    ensure!(gone.code == 200, "{}", gone.text());
    holds("preview of a deletion", &gone)?;
    for (method, path) in [
        ("GET", "/api/admin/retention"),
        ("GET", "/api/admin/retention/quince-policy"),
        ("DELETE", "/api/admin/retention/quince-policy"),
        ("DELETE", "/api/admin/retention/quince-policy?preview=true"),
    ] {
        let answer = attack.with(&attack.editor, method, path, &[]).await?;
        refused(path, &answer, &[200, 404])?;
    }
    for (method, path, name) in [
        ("POST", "", "kept"),
        ("POST", "", "quince-policy"),
        ("PUT", "", "quince-policy"),
        ("PUT", "/quince-policy?preview=true", "quince-policy"),
        ("PUT", "/kept", "quince-policy"),
        ("PUT", "", "new"),
        ("PUT", "", "default"),
    ] {
        let body = policy(name, json!({"priority": 5}));
        let answer =
            attack.send(&attack.editor, method, &format!("/api/admin/retention{path}"), &body).await?;
        let text = answer.text().replace(name, "");
        ensure!(
            [404, 409, 422].contains(&answer.code) && !text.contains(SECRET),
            "{method} {path} {name}: {} {text}",
            answer.code
        );
    }
    Ok(())
}
