//! What somebody who is no administrator of the cluster tries, to have lines stored as another tenant's or believed, and what stops each on a real API server.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use cordwood_tests::env::{ApiServer, wait_for};
use serde_json::{Value, json};

use super::{LEAST, kubectl, list, must, name, of_kind, render};

/// A policy's word, RBAC's word.
const POLICY: Option<&str> = Some("namespace-labels");
const RBAC: Option<&str> = Some("cannot ");

pub fn as_somebody(server: &ApiServer, who: &str, command: &str, input: &Value) -> Result<(bool, String)> {
    let who = format!("--as={who}");
    let arguments: Vec<&str> = command.split(' ').chain([who.as_str()]).collect();
    kubectl(server, &arguments, &input.to_string())
}

fn namespace(name: &str, labels: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
}

/// nadia's tool may write namespaces, as those of GitOps and of tenants' portals may. tom's may assign two tenants besides, uma's may set one mark.
/// olga is the administrator of one namespace.
fn people() -> Vec<Value> {
    let role = |name: &str, rules: Value| json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": name}, "rules": rules});
    let binding = |name: &str, role: &str, users: &[&str]| {
        let user =
            |user: &&str| json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user});
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": name},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
            "subjects": users.iter().map(user).collect::<Vec<_>>()
        })
    };
    let mut olga = binding("olga", "admin", &["olga"]);
    olga["kind"] = "RoleBinding".into();
    olga["metadata"]["namespace"] = "mine".into();
    vec![
        namespace("mine", json!({})),
        namespace("theirs", json!({"cordwood.dev/tenant": "bank", "cordwood.dev/tenant-id": "7"})),
        role(
            "namespaces",
            json!([{"apiGroups": [""], "resources": ["namespaces", "namespaces/status", "namespaces/finalize"],
                    "verbs": ["get", "create", "update", "patch"]}]),
        ),
        role(
            "two-tenants",
            json!([{"apiGroups": ["cordwood.dev"], "resources": ["tenants"], "resourceNames": ["acme", "globex"],
                    "verbs": ["assign"]}]),
        ),
        role(
            "audit-mark",
            json!([{"apiGroups": ["cordwood.dev"], "resources": ["namespacemarks"], "resourceNames": ["audit-from"],
                    "verbs": ["set"]}]),
        ),
        binding("audit-mark", "audit-mark", &["uma"]),
        binding("namespaces", "namespaces", &["nadia", "tom", "uma"]),
        binding("two-tenants", "two-tenants", &["tom"]),
        olga,
    ]
}

/// Who, the command, its input, what stops it.
fn attempts() -> Vec<(&'static str, String, Value, Option<&'static str>)> {
    const TENANT: &str = "cordwood.dev/tenant";
    let label = |namespace: &str, what: &str| format!("label --overwrite namespace {namespace} {what}");
    let patch = |kind: &str, more: &str, patch: &Value| {
        format!("patch namespace mine --type={kind}{more} -p {patch}")
    };
    let bank = json!({"metadata": {"labels": {TENANT: "bank"}}});
    let add = json!([{"op": "add", "path": "/metadata/labels/cordwood.dev~1tenant", "value": "bank"}]);
    let none = Value::Null;
    let mut finalize = namespace("mine", json!({TENANT: "bank", "kubernetes.io/metadata.name": "mine"}));
    finalize["spec"] = json!({"finalizers": ["kubernetes"]});
    let grant = "create clusterrolebinding more --clusterrole=cordwood-tenants --user=nadia";
    vec![
        // A user who may write namespaces, and assign no tenant.
        ("nadia", label("mine", "cordwood.dev/tenant=bank"), none.clone(), POLICY),
        ("nadia", label("mine", "cordwood.dev/tenant=new"), none.clone(), POLICY),
        ("nadia", label("mine", "cordwood.dev/tenant-id=7"), none.clone(), POLICY),
        ("nadia", label("mine", "cordwood.dev/environment=test"), none.clone(), POLICY),
        ("nadia", label("mine", "cordwood.dev/level-rules=deny"), none.clone(), POLICY),
        ("nadia", label("mine", "cordwood.dev/tenant-from=body"), none.clone(), POLICY),
        ("nadia", label("mine", "cordwood.dev/audit-from=body"), none.clone(), POLICY),
        ("nadia", label("mine", "team=x"), none.clone(), None),
        ("nadia", label("theirs", "team=x"), none.clone(), None),
        // An annotation says nothing, and neither does an empty label.
        ("nadia", "annotate namespace mine cordwood.dev/tenant=bank".to_owned(), none.clone(), None),
        ("nadia", label("mine", "cordwood.dev/tenant="), none.clone(), None),
        ("nadia", label("theirs", "cordwood.dev/tenant="), none.clone(), POLICY),
        ("nadia", label("theirs", "cordwood.dev/tenant-"), none.clone(), POLICY),
        ("nadia", label("theirs", "cordwood.dev/tenant-id-"), none.clone(), POLICY),
        ("nadia", "create -f -".to_owned(), namespace("bait", json!({TENANT: "bank"})), POLICY),
        ("nadia", "create -f -".to_owned(), namespace("plain", json!({})), None),
        ("nadia", "apply -f -".to_owned(), namespace("mine", json!({TENANT: "bank"})), POLICY),
        (
            "nadia",
            "apply --server-side --force-conflicts -f -".to_owned(),
            namespace("mine", json!({TENANT: "bank"})),
            POLICY,
        ),
        (
            "nadia",
            "apply --server-side --force-conflicts -f -".to_owned(),
            namespace("fresh", json!({TENANT: "bank"})),
            POLICY,
        ),
        ("nadia", "replace -f -".to_owned(), namespace("theirs", json!({})), POLICY),
        ("nadia", patch("merge", "", &bank), none.clone(), POLICY),
        ("nadia", patch("strategic", "", &bank), none.clone(), POLICY),
        ("nadia", patch("json", "", &add), none.clone(), POLICY),
        ("nadia", patch("merge", " --subresource=status", &bank), none.clone(), POLICY),
        ("nadia", "replace --raw /api/v1/namespaces/mine/finalize -f -".to_owned(), finalize, POLICY),
        // What would let them.
        ("nadia", grant.to_owned(), none.clone(), RBAC),
        ("nadia", "delete validatingadmissionpolicies --all".to_owned(), none.clone(), RBAC),
        ("nadia", "delete validatingadmissionpolicybindings --all".to_owned(), none.clone(), RBAC),
        // A user who may assign two tenants.
        ("tom", label("mine", "cordwood.dev/tenant=acme"), none.clone(), None),
        ("tom", label("mine", "cordwood.dev/tenant=globex cordwood.dev/tenant-id=acme"), none.clone(), None),
        ("tom", label("mine", "cordwood.dev/tenant=bank"), none.clone(), POLICY),
        ("tom", label("mine", "cordwood.dev/tenant-id=7"), none.clone(), POLICY),
        ("tom", label("mine", "cordwood.dev/tenant=acme cordwood.dev/tenant-id=7"), none.clone(), POLICY),
        ("tom", label("mine", "cordwood.dev/environment=test"), none.clone(), POLICY),
        ("tom", label("mine", "cordwood.dev/audit-from=body"), none.clone(), POLICY),
        // A user who may set this one mark.
        ("uma", label("mine", "cordwood.dev/audit-from=body"), none.clone(), None),
        ("uma", label("mine", "cordwood.dev/tenant-from=body"), none.clone(), POLICY),
        ("nadia", label("mine", "cordwood.dev/audit-from-"), none.clone(), POLICY),
        ("uma", label("mine", "cordwood.dev/audit-from-"), none.clone(), None),
        ("tom", label("theirs", "cordwood.dev/tenant=acme"), none.clone(), POLICY),
        ("nadia", label("mine", "cordwood.dev/tenant-"), none.clone(), POLICY),
        ("tom", label("mine", "cordwood.dev/tenant- cordwood.dev/tenant-id-"), none.clone(), None),
        // The administrator of a namespace.
        ("olga", label("mine", "cordwood.dev/tenant=bank"), none.clone(), RBAC),
        ("olga", patch("merge", " --subresource=status", &bank), none.clone(), RBAC),
    ]
}

pub async fn are_set_only_by_those_who_may(server: &ApiServer) -> Result<()> {
    let objects = render(LEAST)?;
    let kinds = ["ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"];
    let policies = |objects: &'_ [Value]| -> Vec<Value> {
        let all = kinds.iter().flat_map(|kind| of_kind(objects, kind));
        all.filter(|object| name(object).ends_with("-namespace-labels")).cloned().collect()
    };
    let policy = policies(&objects);
    assert_eq!(policy.len(), 2);
    let people = people();
    must(kubectl(server, &["apply", "-f", "-"], &list(&people.iter().collect::<Vec<_>>()))?);
    must(kubectl(server, &["apply", "-f", "-"], &list(&policy.iter().collect::<Vec<_>>()))?);
    // The API server learns of a policy by a watch of its own.
    let first = attempts().into_iter().next().context("an attempt")?;
    let dry = format!("{} --dry-run=server", first.1);
    wait_for("the policy", Duration::from_secs(60), async || {
        ensure!(!as_somebody(server, first.0, &dry, &first.2)?.0, "it is not there");
        Ok(())
    })
    .await?;
    for (who, command, input, stopped) in attempts() {
        let (ok, said) = as_somebody(server, who, &command, &input)?;
        let by = stopped.is_none_or(|by| said.contains(by));
        assert!(ok == stopped.is_none() && by, "{who}: {command} {input}\n{said}");
    }
    let said = must(kubectl(server, &["get", "namespace", "theirs", "mine", "-o", "json"], "")?);
    let found: Value = serde_json::from_str(&said)?;
    assert_eq!(found["items"][0]["metadata"]["labels"]["cordwood.dev/tenant"], "bank");
    assert_eq!(found["items"][1]["metadata"]["labels"]["cordwood.dev/tenant"], Value::Null);
    // An administrator of the cluster.
    must(kubectl(server, &["label", "--overwrite", "namespace", "mine", "cordwood.dev/tenant=shop"], "")?);
    // Before Kubernetes 1.30 there is no such kind; and it can be left out.
    let without = render(&format!("{LEAST}namespaceLabels: {{policy: false}}"))?;
    assert!(policies(&without).is_empty(), "{:?}", without.iter().map(name).collect::<Vec<_>>());
    Ok(())
}
