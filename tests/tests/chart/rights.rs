//! Who may do what once the chart is installed, as a real API server answers: the parts, and the people who are given the chart's roles.

use anyhow::{Context, Result};
use cordwood_tests::env::ApiServer;
use serde_json::{Value, json};

use super::{LEAST, NAMESPACE, RELEASE, kubectl, must, name, render};

/// (part, whether it may, what).
const PARTS: &[(&str, bool, &str)] = &[
    ("agent", true, "list pods -A"),
    ("agent", true, "watch namespaces"),
    ("agent", true, "watch configmaps/cordwood-level-rules -n logs"),
    ("agent", false, "list configmaps -n logs"),
    ("agent", true, "get namespaces/shop"),
    ("agent", true, "get pods/web-1 -n shop"),
    ("agent", false, "get configmaps/other -n logs"),
    ("agent", false, "update configmaps/cordwood-level-rules -n logs"),
    ("agent", false, "get secrets -n logs"),
    ("agent", false, "delete pods -n logs"),
    ("agent", false, "create pods --subresource=exec -n logs"),
    ("agent", false, "get logretentionpolicies.cordwood.dev"),
    ("agent", false, "list nodes"),
    ("writer", false, "get pods -n logs"),
    ("writer", false, "get configmaps -n logs"),
    ("writer", false, "get secrets -n logs"),
    ("operator", true, "watch logretentionpolicies.cordwood.dev"),
    ("operator", true, "patch logretentionpolicies.cordwood.dev --subresource=status"),
    ("operator", true, "patch loglevelconfigs.cordwood.dev --subresource=status -A"),
    ("operator", true, "watch clusterloglevelconfigs.cordwood.dev"),
    ("operator", true, "patch clusterloglevelconfigs.cordwood.dev --subresource=status"),
    ("operator", false, "patch clusterloglevelconfigs.cordwood.dev"),
    ("operator", true, "patch configmaps/cordwood-level-rules -n logs"),
    ("operator", true, "patch configmaps/cordwood-tenants -n logs"),
    // What pushing alone needs, and that is off here.
    ("operator", false, "patch configmaps/cordwood-pushes -n logs"),
    ("operator", true, "get pods/web-1 -n shop"),
    ("operator", false, "patch pods -n shop"),
    ("operator", false, "get pods --subresource=proxy -n shop"),
    ("operator", true, "watch namespaces"),
    ("operator", false, "patch namespaces"),
    ("operator", true, "create events -A"),
    ("operator", true, "delete loglevelconfigs.cordwood.dev -A"),
    ("operator", true, "delete clusterloglevelconfigs.cordwood.dev"),
    ("operator", false, "deletecollection loglevelconfigs.cordwood.dev -A"),
    ("operator", false, "delete logretentionpolicies.cordwood.dev"),
    ("operator", false, "patch logretentionpolicies.cordwood.dev"),
    ("operator", false, "patch configmaps/other -n logs"),
    ("operator", false, "get configmaps -n default"),
    ("operator", false, "get secrets -n logs"),
    ("operator", false, "delete pods -n logs"),
    ("gateway", true, "create tokenreviews.authentication.k8s.io"),
    ("gateway", true, "create subjectaccessreviews.authorization.k8s.io"),
    ("gateway", true, "get namespaces"),
    // What administration alone needs, and that is off here.
    ("gateway", false, "get logretentionpolicies.cordwood.dev"),
    ("gateway", false, "patch loglevelconfigs.cordwood.dev -A"),
    // It asks for others, and has none of their rights.
    ("gateway", false, "get pods -n logs"),
    ("gateway", false, "get secrets -n logs"),
    ("gateway", false, "list namespaces"),
    ("gateway", false, "impersonate users"),
    ("gateway", false, "create serviceaccounts --subresource=token -n logs"),
];

/// Asks about somebody; `what` is what `kubectl auth can-i` is asked.
fn asked(server: &ApiServer, who: &str, expected: bool, what: &str) -> Result<()> {
    let who = format!("--as={who}");
    let arguments: Vec<_> = ["auth", "can-i", &who].into_iter().chain(what.split(' ')).collect();
    let (may, said) = kubectl(server, &arguments, "")?;
    assert_eq!(may, expected, "{who}: {what}: {said}");
    Ok(())
}

/// Whether somebody may `get` what is no resource of the server, of which `kubectl auth can-i` therefore knows nothing.
fn sees(server: &ApiServer, who: &str, resource: &str, namespace: &str) -> Result<bool> {
    let review = json!({
        "apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "metadata": {},
        "spec": {"user": who, "resourceAttributes": {
            "group": "cordwood.dev", "resource": resource, "namespace": namespace, "verb": "get"
        }}
    });
    let said = must(kubectl(server, &["create", "-f", "-", "-o", "json"], &review.to_string())?);
    let answer: Value = serde_json::from_str(&said)?;
    answer["status"]["allowed"].as_bool().context("no answer")
}

fn account(part: &str) -> String {
    format!("system:serviceaccount:{NAMESPACE}:{RELEASE}-cordwood-{part}")
}

pub fn of_the_parts(server: &ApiServer) -> Result<()> {
    for (part, expected, what) in PARTS {
        asked(server, &account(part), *expected, what)?;
    }
    Ok(())
}

/// It may change the three resources then, and nothing else of them.
pub fn of_the_gateway_with_administration(server: &ApiServer) -> Result<()> {
    let objects = render(&format!("{LEAST}gateway: {{administration: {{enabled: true}}}}"))?;
    asked(server, &account("operator"), false, "create tokenreviews.authentication.k8s.io")?;
    for part in ["gateway", "operator"] {
        let is_role =
            |o: &&Value| o["kind"] == "ClusterRole" && name(o) == format!("{RELEASE}-cordwood-{part}");
        let role = objects.iter().find(is_role).context("the part's role")?;
        must(kubectl(server, &["apply", "-f", "-"], &role.to_string())?);
    }
    asked(server, &account("operator"), true, "create tokenreviews.authentication.k8s.io")?;
    asked(server, &account("operator"), false, "create subjectaccessreviews.authorization.k8s.io")?;
    for (expected, what) in [
        (true, "patch loglevelconfigs.cordwood.dev -A"),
        (true, "list clusterloglevelconfigs.cordwood.dev"),
        (true, "create logretentionpolicies.cordwood.dev"),
        (true, "delete logretentionpolicies.cordwood.dev"),
        (false, "watch logretentionpolicies.cordwood.dev"),
        (false, "release-hold logretentionpolicies.cordwood.dev"),
        (false, "resume logretentionpolicies.cordwood.dev"),
        (false, "patch logretentionpolicies.cordwood.dev --subresource=status"),
        (false, "get configmaps -n logs"),
    ] {
        asked(server, &account("gateway"), expected, what)?;
    }
    Ok(())
}

/// It may keep what it has told pods then, and do nothing more to them.
pub fn of_the_operator_that_pushes(server: &ApiServer) -> Result<()> {
    let objects = render(&format!("{LEAST}operator: {{config: {{levels: {{push: {{enabled: true}}}}}}}}"))?;
    let is_role = |o: &&Value| o["kind"] == "Role" && name(o) == format!("{RELEASE}-cordwood-operator");
    let role = objects.iter().find(is_role).context("the operator's role")?;
    must(kubectl(server, &["apply", "-f", "-"], &role.to_string())?);
    for (expected, what) in [
        (true, "update configmaps/cordwood-pushes -n logs"),
        (true, "update configmaps/cordwood-level-rules -n logs"),
        (false, "update configmaps/other -n logs"),
        (false, "patch pods -n shop"),
        (false, "get pods --subresource=proxy -n shop"),
        (false, "get secrets -n logs"),
    ] {
        asked(server, &account("operator"), expected, what)?;
    }
    Ok(())
}

/// The cluster's own roles take the chart's in, and a person with one of them sees a namespace's logs there alone.
pub fn of_people(server: &ApiServer, objects: &[Value]) -> Result<()> {
    for (ours, takers) in [
        ("cordwood-logs", &["view", "edit", "admin"][..]),
        ("cordwood-auditlogs", &["admin"]),
        ("cordwood-tasklogs", &["edit", "admin"]),
        // Of no namespace: it is granted in the whole cluster, or not at all.
        ("cordwood-agents", &[]),
        ("cordwood-tenants", &[]),
        ("cordwood-namespacemarks", &[]),
        ("cordwood-holds", &[]),
        ("cordwood-levels-view", &["view"]),
        ("cordwood-levels", &["edit", "admin"]),
    ] {
        let role =
            objects.iter().find(|o| o["kind"] == "ClusterRole" && name(o) == ours).context("a role")?;
        for taker in ["view", "edit", "admin"] {
            let text = must(kubectl(server, &["get", "clusterrole", taker, "-o", "json"], "")?);
            let known: Value = serde_json::from_str(&text)?;
            let selectors = known["aggregationRule"]["clusterRoleSelectors"].as_array();
            let is_taken = selectors.context("no selectors")?.iter().any(|selector| {
                let labels = selector["matchLabels"].as_object();
                labels.is_some_and(|all| {
                    all.iter().all(|(key, value)| role["metadata"]["labels"][key] == *value)
                })
            });
            assert_eq!(is_taken, takers.contains(&taker), "{ours} in {taker}");
        }
    }
    let bind = format!("create rolebinding anna -n {NAMESPACE} --clusterrole cordwood-logs --user anna");
    must(kubectl(server, &bind.split(' ').collect::<Vec<_>>(), "")?);
    must(kubectl(
        server,
        &"create clusterrolebinding otto --clusterrole cordwood-agents --user otto"
            .split(' ')
            .collect::<Vec<_>>(),
        "",
    )?);
    for (who, expected, resource, namespace) in [
        ("otto", true, "agents", ""),
        ("otto", false, "logs", NAMESPACE),
        ("anna", false, "agents", ""),
        ("anna", true, "logs", NAMESPACE),
        ("anna", false, "logs", "default"),
        ("anna", false, "auditlogs", NAMESPACE),
        (&account("gateway"), false, "logs", NAMESPACE),
    ] {
        assert_eq!(sees(server, who, resource, namespace)?, expected, "{who}: {resource} of {namespace}");
    }
    Ok(())
}
