//! What somebody tries who may write retention policies, to have records go that a legal hold or a suspension keeps, and what stops each on a
//! real API server; and who is warned of a policy that any pod can choose.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use cordwood_tests::env::{ApiServer, wait_for};
use serde_json::{Value, json};

use super::{LEAST, kubectl, list, must, name, of_kind, render};

/// The policy's word, RBAC's word.
const POLICY: Option<&str> = Some("-cordwood-holds'");
const RBAC: Option<&str> = Some("cannot ");

fn as_somebody(server: &ApiServer, who: &str, command: &[&str], input: &Value) -> Result<(bool, String)> {
    let who = format!("--as={who}");
    let arguments: Vec<&str> = command.iter().copied().chain([who.as_str()]).collect();
    kubectl(server, &arguments, &input.to_string())
}

fn policy(name: &str, spec: Value) -> Value {
    json!({"apiVersion": "cordwood.dev/v1alpha1", "kind": "LogRetentionPolicy", "metadata": {"name": name}, "spec": spec})
}

fn held() -> Value {
    json!({"match": {"tenants": ["shop-*"]}, "legalHold": true})
}

/// greta writes policies. hans may resume one of them besides, and ina may release and resume all by the chart's role.
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
    let writes = json!([{"apiGroups": ["cordwood.dev"], "resources": ["logretentionpolicies", "logretentionpolicies/status"],
                         "verbs": ["get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"]}]);
    let resumes = json!([{"apiGroups": ["cordwood.dev"], "resources": ["logretentionpolicies"], "resourceNames": ["paused"],
                          "verbs": ["resume"]}]);
    vec![
        role("policy-writer", writes),
        role("resumer", resumes),
        binding("policy-writer", "policy-writer", &["greta", "hans", "ina"]),
        binding("resumer", "resumer", &["hans"]),
        binding("holds", "cordwood-holds", &["ina"]),
    ]
}

/// A change and the name under it.
fn released_by(who: &str, spec: &Value) -> Value {
    json!({"metadata": {"annotations": {"cordwood.dev/released-by": who}}, "spec": spec})
}

/// Who, the command, its input, what stops it.
type Attempt = (&'static str, Vec<String>, Value, Option<&'static str>);

fn attempts() -> Vec<Attempt> {
    let words = |command: &str| command.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let patch = |kind: &str, policy: &str, more: &str, patch: &Value| {
        let mut arguments = words(&format!("patch lrp {policy} --type={kind}{more} -p"));
        arguments.push(patch.to_string());
        arguments
    };
    let merge = |policy: &str, spec: &Value| patch("merge", policy, "", &json!({"spec": spec}));
    let (free, go) = (json!({"legalHold": false}), json!({"suspend": false}));
    let none = Value::Null;
    let without = policy("held", json!({"match": {"tenants": ["shop-*"]}}));
    let remove = json!([{"op": "remove", "path": "/spec/legalHold"}]);
    let apply = "apply --server-side --force-conflicts -f -";
    vec![
        // A user who writes policies, and may release none.
        ("greta", merge("held", &free), none.clone(), POLICY),
        ("greta", merge("held", &json!({"legalHold": null})), none.clone(), POLICY),
        ("greta", patch("json", "held", "", &remove), none.clone(), POLICY),
        ("greta", patch("merge", "held", "", &released_by("greta", &free)), none.clone(), POLICY),
        ("greta", patch("merge", "held", "", &released_by("ina", &free)), none.clone(), POLICY),
        ("greta", words("replace -f -"), without.clone(), POLICY),
        ("greta", words(apply), policy("held", free.clone()), POLICY),
        ("greta", words("delete lrp held"), none.clone(), POLICY),
        // What it matches is what it holds.
        ("greta", merge("held", &json!({"match": {"tenants": ["shop-eu"]}})), none.clone(), POLICY),
        ("greta", merge("held", &json!({"match": {"namespaces": ["a"]}})), none.clone(), POLICY),
        ("greta", merge("held", &json!({"match": null})), none.clone(), POLICY),
        // In another's name.
        ("greta", words("annotate lrp held cordwood.dev/released-by=ina"), none.clone(), POLICY),
        ("greta", words("annotate lrp held cordwood.dev/released-by=greta"), none.clone(), None),
        ("greta", words("annotate lrp held cordwood.dev/released-by-"), none.clone(), None),
        (
            "greta",
            words("create -f -"),
            {
                let mut made = policy("made", json!({}));
                made["metadata"]["annotations"] = json!({"cordwood.dev/released-by": "ina"});
                made
            },
            POLICY,
        ),
        // What holds nothing back.
        ("greta", merge("held", &json!({"retention": {"debug": "2d"}, "mode": "Plan"})), none.clone(), None),
        ("greta", merge("held", &json!({"suspend": true, "mode": "Apply"})), none.clone(), None),
        ("greta", merge("held", &json!({"suspend": false})), none.clone(), None),
        // (A status is no spec: it is taken, and changes nothing else.)
        (
            "greta",
            patch("merge", "held", " --subresource=status", &json!({"spec": free})),
            none.clone(),
            None,
        ),
        ("greta", merge("paused", &go), none.clone(), POLICY),
        ("greta", merge("paused", &json!({"suspend": null})), none.clone(), POLICY),
        ("greta", words("delete lrp paused"), none.clone(), POLICY),
        ("greta", merge("paused", &json!({"match": {"tenants": ["bank"]}})), none.clone(), None),
        // A user who may hold may not release.
        ("greta", merge("plain", &json!({"legalHold": true})), none.clone(), None),
        ("greta", merge("plain", &free), none.clone(), POLICY),
        ("greta", words("create -f -"), policy("other", json!({})), None),
        ("greta", words("delete lrp other"), none.clone(), None),
        (
            "greta",
            words("delete --raw /apis/cordwood.dev/v1alpha1/logretentionpolicies"),
            none.clone(),
            POLICY,
        ),
        // What would let them.
        (
            "greta",
            words("create clusterrolebinding more --clusterrole=cordwood-holds --user=greta"),
            none.clone(),
            RBAC,
        ),
        ("greta", words("delete validatingadmissionpolicies --all"), none.clone(), RBAC),
        ("greta", words("delete crd logretentionpolicies.cordwood.dev"), none.clone(), RBAC),
        // A user who may resume one.
        ("hans", patch("merge", "held", "", &released_by("hans", &free)), none.clone(), POLICY),
        ("hans", merge("paused", &go), none.clone(), POLICY),
        ("hans", patch("merge", "paused", "", &released_by("hans", &go)), none.clone(), None),
        // A user who may release all says who.
        ("ina", merge("held", &free), none.clone(), POLICY),
        ("ina", patch("merge", "held", "", &released_by("greta", &free)), none.clone(), POLICY),
        ("ina", patch("merge", "held", "", &released_by("ina", &free)), none.clone(), None),
        ("ina", words("delete lrp plain"), none.clone(), None),
    ]
}

pub async fn let_go_only_by_those_who_may(server: &ApiServer) -> Result<()> {
    let objects = render(LEAST)?;
    let kinds = ["ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"];
    let ours = |objects: &[Value]| -> Vec<Value> {
        let all = kinds.iter().flat_map(|kind| of_kind(objects, kind));
        all.filter(|o| name(o).ends_with("-holds") || name(o).ends_with("-retention-advice"))
            .cloned()
            .collect()
    };
    let rules = ours(&objects);
    assert_eq!(rules.len(), 4);
    let made = [
        policy("held", held()),
        policy("paused", json!({"match": {"tenants": ["bank-*"]}, "suspend": true})),
        policy("plain", json!({"match": {"tenants": ["acme"]}})),
    ];
    let all: Vec<Value> = people().into_iter().chain(made).chain(rules).collect();
    must(kubectl(server, &["apply", "-f", "-"], &list(&all.iter().collect::<Vec<_>>()))?);
    let attempt = |(who, command, input, _): &Attempt, more: &[&str]| {
        let command: Vec<&str> = command.iter().map(String::as_str).chain(more.iter().copied()).collect();
        as_somebody(server, who, &command, input)
    };
    // The API server learns of a policy by a watch of its own.
    let first = attempts().into_iter().next().context("an attempt")?;
    wait_for("the policy", Duration::from_secs(60), async || {
        ensure!(!attempt(&first, &["--dry-run=server"])?.0, "it is not there");
        Ok(())
    })
    .await?;
    let is_held = || must_field(server, "held", "legalHold");
    for tried in attempts() {
        let (who, command, input, stopped) = &tried;
        if *who != "ina" {
            assert_eq!(is_held()?, true);
        }
        let (ok, said) = attempt(&tried, &[])?;
        let by = stopped.is_none_or(|by| said.contains(by));
        assert!(ok == stopped.is_none() && by, "{who}: {command:?} {input}\n{said}");
    }
    assert_eq!(is_held()?, false);
    assert_eq!(must_field(server, "paused", "suspend")?, false);
    is_warned_of_what_pods_choose(server).await?;
    let without = render(&format!("{LEAST}retentionPolicies: {{admission: false}}"))?;
    assert!(ours(&without).is_empty(), "{:?}", without.iter().map(name).collect::<Vec<_>>());
    Ok(())
}

fn must_field(server: &ApiServer, policy: &str, field: &str) -> Result<Value> {
    let said = must(kubectl(server, &["get", "lrp", policy, "-o", "json"], "")?);
    let found: Value = serde_json::from_str(&said)?;
    Ok(found["spec"][field].clone())
}

async fn is_warned_of_what_pods_choose(server: &ApiServer) -> Result<()> {
    let apply = |matches: Value| {
        let input = policy("payments", json!({"match": matches}));
        Ok::<String, anyhow::Error>(must(as_somebody(server, "greta", &["apply", "-f", "-"], &input)?))
    };
    let is_warned = |said: &str| said.contains("Warning: ") && said.contains("match names services alone");
    wait_for("the advice", Duration::from_secs(60), async || {
        // (What is not changed asks nobody.)
        let said = apply(json!({"services": ["payments"]}))?;
        must(kubectl(server, &["delete", "lrp", "payments"], "")?);
        ensure!(is_warned(&said), "{said}");
        Ok(())
    })
    .await?;
    for (matches, expected) in [
        (json!({"services": ["payments"], "tenants": ["*"]}), true),
        (json!({"services": ["payments"], "tenants": ["*"], "namespaces": ["?*", "shop"]}), true),
        (json!({"services": ["payments"], "tenants": ["shop"]}), false),
        (json!({"services": ["payments"], "namespaces": ["shop"]}), false),
        (json!({"services": ["payments", "*"]}), false),
        (json!({"tenants": ["shop"]}), false),
        (json!({}), false),
    ] {
        let said = apply(matches.clone())?;
        assert_eq!(is_warned(&said), expected, "{matches}: {said}");
    }
    must(kubectl(server, &["delete", "lrp", "payments"], "")?);
    Ok(())
}
