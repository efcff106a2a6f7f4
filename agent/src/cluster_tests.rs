//! Whose a pod's lines are, by what the cluster says: a table of situations.

use cordwood_core::workload::SERVICE;
use serde_json::{Value, json};

use super::*;
use crate::config::Config;

const UID: &str = "0b8e";

fn cluster() -> Arc<Cluster> {
    let config: Config = cordwood_service::parse_config(
        std::path::Path::new("x"),
        "node: n1\ntenants: {namespaces: [{namespace: 'mapped', tenant: by-config}]}",
    )
    .unwrap();
    Cluster::new(Static::new(&config), 1_000, Waker::new().unwrap())
}

fn meta(value: Value) -> ObjectMeta {
    serde_json::from_value(value).unwrap()
}

fn namespace(cluster: &Cluster, name: &str, more: Value) {
    let mut value = json!({"name": name, "uid": "ns", "creationTimestamp": "2026-01-01T00:00:00Z"});
    for (key, more) in more.as_object().unwrap() {
        value[key] = more.clone();
    }
    cluster.namespace_applied(&meta(value));
}

fn pod(cluster: &Cluster, more: Value) {
    let mut value = json!({"name": "web-1", "namespace": "shop", "uid": UID, "creationTimestamp": "2026-02-01T00:00:00Z"});
    for (key, more) in more.as_object().unwrap() {
        value[key] = more.clone();
    }
    cluster.pod_applied(&meta(value));
}

fn source(namespace: &str, uid: &str) -> Source {
    Source::Container {
        namespace: namespace.into(),
        pod: "web-1".into(),
        uid: uid.into(),
        container: "app".into(),
        restart: 0,
    }
}

fn ask(
    cluster: &Cluster,
    source: &Source,
    waited_ms: i64,
    first_line_us: Option<i64>,
) -> Result<Origin, &'static str> {
    match cluster.lookup(source, &Asked { waited_ms, first_line_us, remembered: None }) {
        Lookup::Ready(context) => Ok(context.origin.clone()),
        Lookup::Waiting(what) => Err(what),
    }
}

const MARCH_2026_US: i64 = 1_772_323_200_000_000;

#[test]
fn the_namespace_decides_the_tenant_and_the_pod_never() {
    let cluster = cluster();
    namespace(&cluster, "shop", json!({"labels": {TENANT: "acme", TENANT_ID: "17"}}));
    pod(
        &cluster,
        json!({"labels": {TENANT: "evil", "app.kubernetes.io/name": "web"}, "annotations": {TENANT: "evil"}}),
    );
    let origin = ask(&cluster, &source("shop", UID), 0, None).unwrap();
    assert_eq!(
        (origin.tenant.as_str(), origin.tenant_id.as_str(), origin.service.as_str()),
        ("acme", "17", "web")
    );
    namespace(&cluster, "shop", json!({"annotations": {TENANT: "moved"}}));
    let origin = ask(&cluster, &source("shop", UID), 0, None).unwrap();
    assert_eq!((origin.tenant.as_str(), origin.tenant_id.as_str()), ("moved", "moved"));
}

#[test]
fn without_its_namespace_a_pod_waits_however_long() {
    let cluster = cluster();
    pod(&cluster, json!({}));
    assert_eq!(ask(&cluster, &source("shop", UID), 1 << 40, Some(0)), Err("the metadata of its namespace"));
    // Another UID, or another namespace in the path, is not this pod.
    assert_eq!(ask(&cluster, &source("shop", "other"), 0, Some(0)), Err("the metadata of its pod"));
    assert_eq!(ask(&cluster, &source("other", UID), 0, Some(0)), Err("the metadata of its pod"));
}

#[test]
fn a_pod_that_nobody_knows_goes_on_with_its_path_after_a_while() {
    let cluster = cluster();
    let unknown = source("mapped", "gone");
    assert_eq!(ask(&cluster, &unknown, 2_000, Some(MARCH_2026_US)), Err("the metadata of its namespace"));
    cluster.namespaces_synced.store(true, Ordering::Release);
    assert_eq!(ask(&cluster, &unknown, 2_000, None), Err("its first line"));
    let tenant = |cluster: &Cluster, first| ask(cluster, &unknown, 2_000, Some(first)).unwrap().tenant;
    assert_eq!(tenant(&cluster, MARCH_2026_US), UNASSIGNED, "there is no such namespace any more");
    namespace(&cluster, "mapped", json!({"labels": {}}));
    assert_eq!(tenant(&cluster, MARCH_2026_US), "by-config");
    namespace(
        &cluster,
        "mapped",
        json!({"creationTimestamp": "2026-06-01T00:00:00Z", "labels": {TENANT: "newcomer"}}),
    );
    assert_eq!(tenant(&cluster, MARCH_2026_US), UNASSIGNED, "a namespace that was made anew is another one");
}

#[test]
fn lines_without_a_time_are_nobodys_after_a_while() {
    let cluster = cluster();
    cluster.namespaces_synced.store(true, Ordering::Release);
    namespace(&cluster, "mapped", json!({"labels": {}}));
    let unknown = source("mapped", "gone");
    let never = Some(crate::context::NEVER_US);
    assert_eq!(ask(&cluster, &unknown, 0, never), Err("the metadata of its pod"));
    assert_eq!(ask(&cluster, &unknown, 2_000, never).unwrap().tenant, UNASSIGNED);
}

#[test]
fn a_deleted_pod_keeps_the_tenant_it_had() {
    let cluster = cluster();
    namespace(&cluster, "shop", json!({"labels": {TENANT: "acme"}}));
    pod(&cluster, json!({}));
    cluster.pod_deleted("shop_web-1_0b8e");
    namespace(
        &cluster,
        "shop",
        json!({"creationTimestamp": "2026-06-01T00:00:00Z", "labels": {TENANT: "newcomer"}}),
    );
    assert_eq!(ask(&cluster, &source("shop", UID), 0, None).unwrap().tenant, "acme");
    assert!(!cluster.is_alive(&source("shop", UID)));
}

#[test]
fn a_new_pod_does_not_get_the_tenant_of_the_namespace_before() {
    let cluster = cluster();
    namespace(
        &cluster,
        "shop",
        json!({"labels": {TENANT: "acme"}, "deletionTimestamp": "2026-01-15T00:00:00Z"}),
    );
    pod(&cluster, json!({}));
    assert_eq!(ask(&cluster, &source("shop", UID), 0, None), Err("the metadata of its namespace"));
}

#[test]
fn services_and_workloads() {
    let owner = |kind: &str, name: &str| json!([{"apiVersion": "v1", "kind": kind, "name": name, "uid": "o", "controller": true}]);
    let cases = [
        (
            json!({"labels": {"pod-template-hash": "5f6d"}, "ownerReferences": owner("ReplicaSet", "web-5f6d")}),
            "web",
            "Deployment/web",
        ),
        (json!({"ownerReferences": owner("ReplicaSet", "web-5f6d")}), "web-5f6d", "ReplicaSet/web-5f6d"),
        (json!({"ownerReferences": owner("Job", "report-29301234")}), "report", "CronJob/report"),
        (json!({"ownerReferences": owner("Job", "migrate-2")}), "migrate-2", "Job/migrate-2"),
        (json!({"ownerReferences": owner("StatefulSet", "db")}), "db", "StatefulSet/db"),
        (
            json!({"labels": {"app.kubernetes.io/name": "n"}, "ownerReferences": owner("StatefulSet", "db")}),
            "n",
            "StatefulSet/db",
        ),
        (json!({"labels": {"app.kubernetes.io/name": "n", SERVICE: "s"}}), "s", ""),
        (json!({}), "app", ""),
    ];
    for (more, service, workload) in cases {
        let cluster = cluster();
        namespace(&cluster, "shop", json!({}));
        pod(&cluster, more.clone());
        let origin = ask(&cluster, &source("shop", UID), 0, None).unwrap();
        assert_eq!((origin.service.as_str(), origin.workload.as_str()), (service, workload), "{more}");
    }
}

/// Whoever may make pods may write the annotation that a static pod's mirror has.
#[test]
fn a_pod_that_claims_the_uid_of_another_does_not_take_its_place() {
    let cluster = cluster();
    namespace(&cluster, "shop", json!({"labels": {TENANT: "acme"}}));
    namespace(&cluster, "evil", json!({"labels": {TENANT: "evil"}}));
    pod(&cluster, json!({"labels": {SERVICE: "web"}}));
    let claim = json!({"kubernetes.io/config.mirror": UID});
    pod(&cluster, json!({"namespace": "evil", "uid": "0b8f", "annotations": claim}));
    let origin = ask(&cluster, &source("shop", UID), 0, None).unwrap();
    assert_eq!((origin.tenant.as_str(), origin.service.as_str()), ("acme", "web"));
    cluster.pod_deleted("evil_web-1_0b8e");
    assert!(cluster.is_alive(&source("shop", UID)));
}

/// It is in every batch.
#[test]
fn an_annotation_may_be_long_and_a_name_may_not() {
    let cluster = cluster();
    namespace(&cluster, "shop", json!({}));
    pod(&cluster, json!({"annotations": {SERVICE: "s".repeat(200_000)}}));
    let service = ask(&cluster, &source("shop", UID), 0, None).unwrap().service;
    assert_eq!(service.len(), cordwood_core::limits::NAME_BYTES_MAX);
}
