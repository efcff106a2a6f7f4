//! What three people try who are trusted with a part of a cluster, to have logs of others kept, dropped, quieted or read as they like, and what stops each
//! of it on a real API server with the chart's roles and admission policies.

#![allow(clippy::print_stdout)] // The table, for the person who runs it with --nocapture.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use cordwood_core::origin::UNASSIGNED;
use cordwood_core::tenancy::{Labels, Tenancy, Tenants};
use cordwood_tests::env::ApiServer;
use serde_json::{Value, json};

use super::namespace_labels::as_somebody;
use super::{NAMESPACE, RELEASE, kubectl, list, must};

/// What stops an attempt.
#[derive(Clone, Copy)]
enum Stops {
    /// No right to it.
    Rbac,
    /// Nobody grants what they do not have.
    Escalation,
    /// The admission of pods, or what Kubernetes takes for a name.
    Kubernetes(&'static str),
    /// The API server lets it pass: what makes it do no harm.
    Harmless(&'static str),
    /// It is theirs to do, and docs/access.md says who may be given that.
    Trusted(&'static str),
}

use Stops::{Escalation, Harmless, Kubernetes, Rbac, Trusted};

impl Stops {
    /// What the API server says; `None`: it does it.
    fn says(self) -> Option<&'static str> {
        match self {
            Rbac => Some("cannot "),
            Escalation => Some("attempting to grant"),
            Kubernetes(word) => Some(word),
            Harmless(_) | Trusted(_) => None,
        }
    }

    fn told(self) -> String {
        match self {
            Rbac => "RBAC: no such right".to_owned(),
            Escalation => "RBAC: nobody grants what they do not have".to_owned(),
            Kubernetes(word) => format!("admission: {word}"),
            Harmless(why) => format!("passes, and does no harm: {why}"),
            Trusted(why) => format!("passes, as it must: {why}"),
        }
    }
}

/// Who, what for, the command, its input, what stops it.
type Attempt = (&'static str, &'static str, String, Value, Stops);

/// The chart's kinds.
fn object(kind: &str, name: &str, namespace: &str, spec: Value) -> Value {
    let mut metadata = json!({"name": name});
    if !namespace.is_empty() {
        metadata["namespace"] = namespace.into();
    }
    json!({"apiVersion": "cordwood.dev/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec})
}

fn pod(name: &str, namespace: &str, metadata: Value, spec: Value) -> Value {
    let mut pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": namespace},
        "spec": {"automountServiceAccountToken": false, "containers": [{"name": "app", "image": "app"}]},
    });
    for (place, more) in [("metadata", metadata), ("spec", spec)] {
        for (key, value) in more.as_object().into_iter().flatten() {
            pod[place][key] = value.clone();
        }
    }
    pod
}

fn binding(kind: &str, name: &str, role: &str) -> Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, "metadata": {"name": name, "namespace": "ours"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": name}],
    })
}

/// olga: `admin` of the namespace `ours`.
fn of_an_administrator_of_a_namespace() -> Vec<Attempt> {
    let none = Value::Null;
    let quiet = json!({"level": "ERROR", "duration": "7d"});
    let short = json!({"match": {"tenants": ["bank"]}, "retention": {"error": "1m"}});
    let mut grant = binding("RoleBinding", "olga-2", "cordwood-tenants");
    grant["metadata"]["name"] = "more".into();
    let mut every = binding("RoleBinding", "olga-2", "cluster-admin");
    every["metadata"]["name"] = "every".into();
    let create = || "create -f -".to_owned();
    let operator = format!("{RELEASE}-cordwood-operator");
    vec![
        ("olga", "be another tenant", "label namespace ours cordwood.dev/tenant=bank".to_owned(), none.clone(), Rbac),
        (
            "olga",
            "be another tenant, by a subresource",
            r#"patch namespace ours --subresource=status --type=merge -p {"metadata":{"labels":{"cordwood.dev/tenant":"bank"}}}"#.to_owned(),
            none.clone(),
            Rbac,
        ),
        (
            "olga",
            "be another tenant, in a new namespace",
            create(),
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "bait", "labels": {"cordwood.dev/tenant": "bank"}}}),
            Rbac,
        ),
        ("olga", "be exempt from level rules", "label namespace ours cordwood.dev/level-rules=deny".to_owned(), none.clone(), Rbac),
        ("olga", "grant herself tenants", create(), grant, Escalation),
        ("olga", "grant herself everything", create(), every, Escalation),
        ("olga", "have records of others dropped", create(), object("LogRetentionPolicy", "evil", "", short), Rbac),
        ("olga", "approve a plan", "annotate lrp shop cordwood.dev/approve-plan=0123456789abcdef".to_owned(), none.clone(), Rbac),
        ("olga", "lift a legal hold", r#"patch lrp shop --type=merge -p {"spec":{"legalHold":false}}"#.to_owned(), none.clone(), Rbac),
        ("olga", "delete a policy", "delete lrp shop".to_owned(), none.clone(), Rbac),
        ("olga", "quiet everybody", create(), object("ClusterLogLevelConfig", "evil", "", quiet.clone()), Rbac),
        ("olga", "quiet another namespace", create(), object("LogLevelConfig", "evil", "theirs", quiet.clone()), Rbac),
        (
            "olga",
            "quiet her own",
            create(),
            object("LogLevelConfig", "quiet", "ours", quiet),
            Trusted("a LogLevelConfig is for its own namespace alone"),
        ),
        (
            "olga",
            "have a rule told as applied",
            r#"patch llc quiet -n ours --subresource=status --type=merge -p {"status":{"agents":"9/9"}}"#.to_owned(),
            none.clone(),
            Rbac,
        ),
        ("olga", "write the rules of all agents", format!("delete configmap cordwood-level-rules -n {NAMESPACE}"), none.clone(), Rbac),
        ("olga", "read the database's password", format!("get secret cordwood-database -n {NAMESPACE}"), none.clone(), Rbac),
        ("olga", "be the operator", format!("create token {operator} -n {NAMESPACE}"), none.clone(), Rbac),
        ("olga", "take the admission policy away", "delete validatingadmissionpolicies --all".to_owned(), none, Rbac),
    ]
}

/// erik: `edit` in the release's namespace, as an account has that upgrades the release.
fn of_an_editor_of_the_release_s_namespace() -> Vec<Attempt> {
    let none = Value::Null;
    let quiet = json!({"level": "ERROR", "duration": "7d"});
    let create = || "create -f -".to_owned();
    let grant = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "erik"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cordwood-tenants"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "erik"}],
    });
    let trusted = "anyone who edits the release's namespace runs its programs (docs/access.md)";
    vec![
        (
            "erik",
            "quiet the whole cluster",
            create(),
            object("LogLevelConfig", "quiet", NAMESPACE, quiet.clone()),
            Harmless("a LogLevelConfig in the release's namespace is for that namespace alone"),
        ),
        (
            "erik",
            "quiet the whole cluster",
            create(),
            object("ClusterLogLevelConfig", "evil", "", quiet.clone()),
            Rbac,
        ),
        (
            "erik",
            "quiet another namespace",
            create(),
            object("LogLevelConfig", "evil", "theirs", quiet),
            Rbac,
        ),
        (
            "erik",
            "have records dropped",
            create(),
            object("LogRetentionPolicy", "evil", "", json!({"retention": {"error": "1m"}})),
            Rbac,
        ),
        (
            "erik",
            "approve a plan",
            "annotate lrp shop cordwood.dev/approve-plan=0123456789abcdef".to_owned(),
            none.clone(),
            Rbac,
        ),
        (
            "erik",
            "have a plan shown as approved",
            r#"patch lrp shop --subresource=status --type=merge -p {"status":{"waits":""}}"#.to_owned(),
            none.clone(),
            Rbac,
        ),
        (
            "erik",
            "be another tenant",
            format!("label namespace {NAMESPACE} cordwood.dev/tenant=bank"),
            none.clone(),
            Rbac,
        ),
        (
            "erik",
            "make another a tenant",
            "label namespace theirs cordwood.dev/tenant=acme --overwrite".to_owned(),
            none.clone(),
            Rbac,
        ),
        ("erik", "grant himself tenants", create(), grant, Rbac),
        (
            "erik",
            "take the admission policy away",
            "delete validatingadmissionpolicybindings --all".to_owned(),
            none.clone(),
            Rbac,
        ),
        (
            "erik",
            "read the database's password",
            format!("get secrets -n {NAMESPACE}"),
            none.clone(),
            Trusted(trusted),
        ),
        (
            "erik",
            "change whose lines are whose",
            format!("create configmap {RELEASE}-agent-2 -n {NAMESPACE} --from-literal=agent.yaml=x"),
            none,
            Trusted(trusted),
        ),
    ]
}

/// paul: may make pods in `ours`, which enforces the Pod Security Standard `baseline`.
fn of_an_author_of_pods() -> Vec<Attempt> {
    let none = json!({});
    let create = || "create -f -".to_owned();
    let namespace_alone = "a pod's namespace alone says whose its lines are";
    let log_folder = json!({"volumes": [{"name": "logs", "hostPath": {"path": "/var/log/pods"}}]});
    let label = "label namespace ours cordwood.dev/tenant=bank".to_owned();
    let quiet = json!({"level": "ERROR", "duration": "1h"});
    let path = json!({"containers": [{"name": "../../theirs_web_1", "image": "app"}]});
    let operator = json!({"serviceAccountName": format!("{RELEASE}-cordwood-operator")});
    vec![
        (
            "paul",
            "be another tenant, by a label",
            create(),
            pod(
                "labelled",
                "ours",
                json!({"labels": {"cordwood.dev/tenant": "bank", "cordwood.dev/tenant-id": "7"}}),
                none.clone(),
            ),
            Harmless(namespace_alone),
        ),
        (
            "paul",
            "be another tenant, by an annotation",
            create(),
            pod("annotated", "ours", json!({"annotations": {"cordwood.dev/tenant": "bank"}}), none.clone()),
            Harmless(namespace_alone),
        ),
        (
            "paul",
            "be an audit record's author",
            create(),
            pod("audited", "ours", json!({"labels": {"cordwood.dev/audit-from": "body"}}), none.clone()),
            Harmless("a namespace's mark alone lets lines call themselves audit records"),
        ),
        (
            "paul",
            "write into others' logs",
            create(),
            pod("writer", "ours", none.clone(), log_folder),
            Kubernetes("hostPath"),
        ),
        (
            "paul",
            "listen on the node",
            create(),
            pod("host", "ours", none.clone(), json!({"hostNetwork": true})),
            Kubernetes("host namespaces"),
        ),
        (
            "paul",
            "be root on the node",
            create(),
            pod(
                "root",
                "ours",
                none.clone(),
                json!({"containers": [{"name": "app", "image": "app", "securityContext": {"privileged": true}}]}),
            ),
            Kubernetes("privileged"),
        ),
        (
            "paul",
            "have a path of another namespace",
            create(),
            pod("path", "ours", none.clone(), path),
            Kubernetes("RFC 1123 label"),
        ),
        (
            "paul",
            "have a folder of another pod",
            create(),
            pod("theirs_web_uid", "ours", none.clone(), none.clone()),
            Kubernetes("RFC 1123 subdomain"),
        ),
        (
            "paul",
            "be the operator",
            create(),
            pod("operator", "ours", none.clone(), operator),
            Kubernetes("not found"),
        ),
        (
            "paul",
            "be one of the release's pods",
            create(),
            pod("agent", NAMESPACE, none.clone(), none.clone()),
            Rbac,
        ),
        (
            "paul",
            "be in another namespace",
            create(),
            pod("guest", "theirs", none.clone(), none.clone()),
            Rbac,
        ),
        ("paul", "label the namespace", label, none.clone(), Rbac),
        ("paul", "quiet the namespace", create(), object("LogLevelConfig", "evil", "ours", quiet), Rbac),
        (
            "paul",
            "read the agents' rules",
            format!("get configmap cordwood-level-rules -n {NAMESPACE}"),
            none,
            Rbac,
        ),
    ]
}

/// The rules of the cluster's role and of all that are added to it, as the cluster's controller puts them together: no controller runs here.
fn rules_of(roles: &[Value], role: &str) -> Vec<Value> {
    let label = format!("rbac.authorization.k8s.io/aggregate-to-{role}");
    let mut rules = Vec::new();
    for added in roles.iter().filter(|added| added["metadata"]["labels"][&label] == "true") {
        rules.extend(added["rules"].as_array().into_iter().flatten().cloned());
    }
    match role {
        "admin" => rules.extend(rules_of(roles, "edit")),
        "edit" => rules.extend(rules_of(roles, "view")),
        _ => {}
    }
    rules
}

fn people(roles: &[Value]) -> Vec<Value> {
    let role = |name: &str, rules: Value| json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": name}, "rules": rules});
    let bound = |name: &str, role: &str, namespace: &str| {
        let mut binding = binding("RoleBinding", name, role);
        binding["metadata"]["namespace"] = namespace.into();
        binding
    };
    let baseline = json!({"pod-security.kubernetes.io/enforce": "baseline"});
    let pods = json!([{"apiGroups": [""], "resources": ["pods", "pods/log"], "verbs": ["get", "list", "create", "patch", "delete"]}]);
    vec![
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "ours", "labels": baseline}}),
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": "ours"}}),
        role("made-admin", rules_of(roles, "admin").into()),
        role("made-edit", rules_of(roles, "edit").into()),
        role("makes-pods", pods),
        bound("olga", "made-admin", "ours"),
        bound("erik", "made-edit", NAMESPACE),
        bound("paul", "makes-pods", "ours"),
        object("LogRetentionPolicy", "shop", "", json!({"legalHold": true, "match": {"tenants": ["shop"]}})),
    ]
}

/// After [`super::namespace_labels`]: the admission policies are in force, and `theirs` is the tenant `bank`.
pub fn is_bent_by_nobody(server: &ApiServer) -> Result<()> {
    let roles: Value =
        serde_json::from_str(&must(kubectl(server, &["get", "clusterroles", "-o", "json"], "")?))?;
    let people = people(roles["items"].as_array().context("no roles")?);
    must(kubectl(server, &["apply", "-f", "-"], &list(&people.iter().collect::<Vec<_>>()))?);
    let all = [
        of_an_administrator_of_a_namespace(),
        of_an_editor_of_the_release_s_namespace(),
        of_an_author_of_pods(),
    ]
    .concat();
    assert!(all.len() >= 20, "{} attempts", all.len());
    let mut wrong = Vec::new();
    for (who, what, command, input, stops) in all {
        let (ok, said) = as_somebody(server, who, &command, &input)?;
        println!("{who:5} {what:37} {}", stops.told());
        let is_right = match stops.says() {
            Some(word) => !ok && said.contains(word),
            None => ok,
        };
        if !is_right {
            wrong.push(format!("{who}: {what}: {command}\n{said}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // What passed changed nothing: not whose the lines are, nor the policy.
    let namespace: Value =
        serde_json::from_str(&must(kubectl(server, &["get", "namespace", "ours", "-o", "json"], "")?))?;
    let labels: BTreeMap<String, String> = serde_json::from_value(namespace["metadata"]["labels"].clone())?;
    let labels = Labels::of(Some(&labels));
    assert_eq!(Tenancy::new(&Tenants::default()).decide("ours", &labels).tenant, UNASSIGNED);
    assert!(!labels.tenant_from_body && !labels.audit_from_body && !labels.denies_level_rules);
    let held = must(kubectl(server, &["get", "lrp", "shop", "-o", "jsonpath={.spec.legalHold}"], "")?);
    assert_eq!(held, "true");
    let cluster = must(kubectl(server, &["get", "cllc", "-o", "name"], "")?);
    assert_eq!(cluster, "");
    Ok(())
}
