//! Whose a pod's lines are, by what the cluster says: a table of situations.

use cordwood_core::tenancy::{AUDIT_FROM, ENVIRONMENT, LEVEL_RULES, TENANT, TENANT_FROM, TENANT_ID};
use cordwood_core::workload::SERVICE;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
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

fn cluster_with(tenants: &str) -> Arc<Cluster> {
    let config = cordwood_service::parse_config(std::path::Path::new("x"), &format!("tenants: {tenants}"));
    Cluster::new(Static::new(&config.unwrap()), 1_000, Waker::new().unwrap())
}

fn with(mut value: Value, more: &Value) -> ObjectMeta {
    for (key, more) in more.as_object().unwrap() {
        value[key] = more.clone();
    }
    serde_json::from_value(value).unwrap()
}

fn namespace_meta(name: &str, more: Value) -> ObjectMeta {
    with(json!({"name": name, "uid": "first"}), &more)
}

fn pod_meta(more: &Value) -> ObjectMeta {
    with(json!({"name": "web-1", "namespace": "shop", "uid": UID}), more)
}

/// The namespaces' watch tells it.
fn namespace(cluster: &Cluster, name: &str, more: Value) {
    cluster.index().namespace_applied(&namespace_meta(name, more));
}

/// The pods' watch tells it.
fn pod(cluster: &Cluster, more: Value) {
    cluster.index().pod_applied(&pod_meta(&more));
}

impl Cluster {
    /// As both watches and the API say it.
    pub fn knows(&self, namespace: &Value, pod: &Value) {
        let meta = |value: &Value| -> ObjectMeta { serde_json::from_value(value.clone()).unwrap() };
        let namespace = meta(namespace);
        self.namespace_applied(&namespace);
        self.index().pod_applied(&meta(pod));
        answer(self, &[namespace], &[]);
    }
}

/// The API answers all questions, also those that its answers raise.
fn answer(cluster: &Cluster, namespaces: &[ObjectMeta], pods: &[ObjectMeta]) -> Vec<Question> {
    let mut asked = Vec::new();
    for _ in 0..3 {
        let questions = cluster.index().questions();
        for question in questions {
            let meta = match &question {
                Question::Namespace { name, .. } => {
                    namespaces.iter().find(|meta| meta.name.as_ref() == Some(name))
                }
                Question::Pod { namespace, name, .. } => pods.iter().find(|meta| {
                    meta.name.as_ref() == Some(name) && meta.namespace.as_ref() == Some(namespace)
                }),
            };
            cluster.index().answer(&question, meta);
            asked.push(question);
        }
    }
    assert_eq!(cluster.index().questions(), [], "each is asked once");
    asked
}

/// A cluster in which both watches told all, in the usual order.
fn answered(namespace_more: Value, pod_more: Value) -> Arc<Cluster> {
    let cluster = cluster();
    namespace(&cluster, "shop", namespace_more.clone());
    pod(&cluster, pod_more);
    answer(&cluster, &[namespace_meta("shop", namespace_more)], &[]);
    cluster
}

fn source(namespace: &str, uid: &str) -> Source {
    Source::Container {
        namespace: namespace.into(),
        pod: "web-1".into(),
        uid: uid.into(),
        container: "app".into(),
        restart_count: 0,
    }
}

fn ask(cluster: &Cluster, source: &Source, waited_ms: i64) -> Result<Origin, &'static str> {
    match cluster.lookup(source, &Asked { waited_ms, remembered: None }) {
        Lookup::Ready(context) => Ok(context.origin.clone()),
        Lookup::Waiting(what) => Err(what),
    }
}

fn tenant(cluster: &Cluster) -> Result<String, &'static str> {
    ask(cluster, &source("shop", UID), 0).map(|origin| origin.tenant)
}

#[test]
fn the_namespace_decides_the_tenant_and_the_pod_never() {
    let cluster = answered(
        json!({"labels": {TENANT: "acme", TENANT_ID: "17"}}),
        json!({"labels": {TENANT: "evil", "app.kubernetes.io/name": "web"}, "annotations": {TENANT: "evil"}}),
    );
    let origin = ask(&cluster, &source("shop", UID), 0).unwrap();
    assert_eq!(
        (origin.tenant.as_str(), origin.tenant_id.as_str(), origin.service.as_str()),
        ("acme", "17", "web")
    );
    namespace(&cluster, "shop", json!({"labels": {TENANT: "moved"}}));
    let origin = ask(&cluster, &source("shop", UID), 0).unwrap();
    assert_eq!((origin.tenant.as_str(), origin.tenant_id.as_str()), ("moved", "moved"));
}

/// An administrator who locks the labels of namespaces usually forgets their annotations.
#[test]
fn an_annotation_of_a_namespace_says_nothing() {
    let claims = json!({TENANT: "evil", TENANT_ID: "6", ENVIRONMENT: "test"});
    let cluster = answered(json!({"annotations": claims}), json!({}));
    let origin = ask(&cluster, &source("shop", UID), 0).unwrap();
    assert_eq!((origin.tenant.as_str(), origin.environment.as_str()), (UNASSIGNED, ""));
    namespace(&cluster, "shop", json!({"labels": {TENANT: "acme"}, "annotations": claims}));
    let origin = ask(&cluster, &source("shop", UID), 0).unwrap();
    assert_eq!((origin.tenant.as_str(), origin.tenant_id.as_str()), ("acme", "acme"));
}

#[test]
fn the_administrators_rule_goes_before_a_label_unless_the_authority_is_the_namespace() {
    const RULES: &str = "namespaces: [{namespace: shop, tenant: by-config}], allowed: [by-config, acme]";
    for (authority, label, expected) in [
        ("configuration", "acme", "by-config"),
        ("configuration", "evil", "by-config"),
        ("namespace", "acme", "acme"),
        ("namespace", "evil", UNASSIGNED),
        ("namespace", "", "by-config"),
    ] {
        let cluster = cluster_with(&format!("{{authority: {authority}, {RULES}}}"));
        let labels = json!({"labels": {TENANT: label}});
        cluster.namespace_applied(&namespace_meta("shop", labels.clone()));
        pod(&cluster, json!({}));
        answer(&cluster, &[namespace_meta("shop", labels)], &[]);
        assert_eq!(tenant(&cluster), Ok(expected.to_owned()), "{authority} {label}");
        assert_eq!(cluster.namespaces_refused(), usize::from(expected == UNASSIGNED), "{authority} {label}");
    }
}

/// Of a pod that is gone nobody knows it: then too no rule of others drops its lines.
#[test]
fn a_namespace_can_be_exempt_from_the_level_rules_of_others() {
    let is_exempt = |cluster: &Cluster, remembered: Option<&Origin>| match cluster
        .lookup(&source("shop", UID), &Asked { waited_ms: 1 << 40, remembered })
    {
        Lookup::Ready(context) => context.is_exempt,
        Lookup::Waiting(what) => panic!("{what}"),
    };
    for (labels, annotations, expected) in [
        (json!({LEVEL_RULES: "deny"}), json!({}), true),
        (json!({LEVEL_RULES: "allow"}), json!({}), false),
        (json!({}), json!({LEVEL_RULES: "deny"}), false),
    ] {
        let cluster = answered(
            json!({"labels": labels, "annotations": annotations}),
            json!({"labels": {LEVEL_RULES: "deny"}}),
        );
        assert_eq!(is_exempt(&cluster, None), expected, "{labels} {annotations}");
    }
    assert!(is_exempt(&cluster(), Some(&Origin::default())));
}

#[test]
fn a_pod_waits_until_the_api_says_whose_it_is() {
    let cluster = cluster();
    pod(&cluster, json!({}));
    assert_eq!(ask(&cluster, &source("shop", UID), 1 << 40), Err("the metadata of its namespace"));
    // What the watch says is not enough: it may be of the namespace before, or of the one after.
    namespace(&cluster, "shop", json!({"labels": {TENANT: "acme"}}));
    assert_eq!(ask(&cluster, &source("shop", UID), 1 << 40), Err("the metadata of its namespace"));
    // Another UID, or another namespace in the path, is not this pod.
    assert_eq!(ask(&cluster, &source("shop", "other"), 0), Err("the metadata of its pod"));
    assert_eq!(ask(&cluster, &source("other", UID), 0), Err("the metadata of its pod"));
}

/// API servers' clocks differ by a second or two: a namespace seemed to be younger than its pod, and the pod waited for ever.
#[test]
fn a_pod_that_is_older_than_its_namespace_by_the_clock_does_not_wait() {
    let young = json!({"creationTimestamp": "2026-02-01T00:00:02Z", "labels": {TENANT: "acme"}});
    let cluster = answered(young, json!({"creationTimestamp": "2026-02-01T00:00:00Z"}));
    assert_eq!(tenant(&cluster), Ok("acme".into()));
}

/// The namespaces' watch was away when the namespace went and came again as another's.
#[test]
fn a_new_pod_does_not_get_the_tenant_of_the_namespace_before() {
    let cluster = cluster();
    namespace(&cluster, "shop", json!({"labels": {TENANT: "acme"}}));
    pod(&cluster, json!({}));
    let newcomer = namespace_meta("shop", json!({"uid": "second", "labels": {TENANT: "newcomer"}}));
    let asked = answer(&cluster, std::slice::from_ref(&newcomer), &[pod_meta(&json!({}))]);
    assert_eq!(asked.len(), 2, "the pod is looked at again: {asked:?}");
    assert_eq!(tenant(&cluster), Ok("newcomer".into()));
    // The watch comes back with what it missed.
    cluster.index().namespace_deleted("shop");
    assert_eq!(tenant(&cluster), Ok("newcomer".into()));
    cluster.index().namespace_applied(&newcomer);
    assert_eq!(tenant(&cluster), Ok("newcomer".into()));
}

/// The pods' watch was behind: the pod, its namespace and its tenant are gone.
#[test]
fn an_old_pod_does_not_get_the_tenant_of_the_namespace_after() {
    let cluster = cluster();
    pod(&cluster, json!({}));
    let newcomer = namespace_meta("shop", json!({"uid": "second", "labels": {TENANT: "newcomer"}}));
    answer(&cluster, &[newcomer], &[pod_meta(&json!({"uid": "another"}))]);
    assert_eq!(tenant(&cluster), Ok(UNASSIGNED.into()));
}

#[test]
fn a_pod_that_went_before_the_answer_is_known_by_its_namespace() {
    let known = || namespace_meta("shop", json!({"labels": {TENANT: "acme"}}));
    let cluster = cluster();
    cluster.index().namespace_applied(&known());
    pod(&cluster, json!({}));
    cluster.index().pod_deleted("shop_web-1_0b8e");
    assert_eq!(tenant(&cluster), Err("the metadata of its namespace"));
    answer(&cluster, &[known()], &[]);
    assert_eq!(tenant(&cluster), Ok("acme".into()), "it was there before the pod and is there after it");
}

/// The pods' watch was away while a namespace was deleted and created again by another tenant, and tells now of a pod of the first one.
#[test]
fn a_pod_that_a_watch_makes_up_for_does_not_get_the_tenant_of_the_namespace_after() {
    let cluster = cluster();
    let shop =
        |uid: &str, tenant: &str| namespace_meta("shop", json!({"uid": uid, "labels": {TENANT: tenant}}));
    let before = std::time::Instant::now();
    cluster.index().namespace_applied(&shop("second", "newcomer"));
    cluster.index().pod_made_up_for(&pod_meta(&json!({})), before);
    cluster.index().pod_deleted("shop_web-1_0b8e");
    answer(&cluster, &[shop("second", "newcomer")], &[]);
    assert_eq!(tenant(&cluster), Ok(UNASSIGNED.into()), "nobody can know it");
    // One that is there is surely of the namespace that is there.
    cluster.index().pod_made_up_for(&pod_meta(&json!({"name": "web-2", "uid": "2"})), before);
    let asked =
        answer(&cluster, &[shop("second", "newcomer")], &[pod_meta(&json!({"name": "web-2", "uid": "2"}))]);
    assert_eq!(asked.len(), 2, "{asked:?}");
    let second = Source::Container {
        namespace: "shop".into(),
        pod: "web-2".into(),
        uid: "2".into(),
        container: "app".into(),
        restart_count: 0,
    };
    assert_eq!(ask(&cluster, &second, 0).map(|origin| origin.tenant), Ok("newcomer".into()));
}

/// Short jobs that began and ended while the API was away, in a namespace that was there all the time.
#[test]
fn a_pod_that_a_watch_makes_up_for_is_known_by_a_namespace_from_before_the_gap() {
    let known = || namespace_meta("shop", json!({"labels": {TENANT: "acme"}}));
    let cluster = cluster();
    cluster.index().namespace_applied(&known());
    let gap_began = std::time::Instant::now();
    // (The namespaces' watch tells of it again.)
    cluster.index().namespace_applied(&known());
    cluster.index().pod_made_up_for(&pod_meta(&json!({})), gap_began);
    cluster.index().pod_deleted("shop_web-1_0b8e");
    answer(&cluster, &[known()], &[]);
    assert_eq!(tenant(&cluster), Ok("acme".into()));
}

#[test]
fn a_namespace_is_asked_for_once_for_all_its_pods() {
    let cluster = cluster();
    namespace(&cluster, "shop", json!({}));
    for pod in ["a", "b", "c"] {
        cluster.index().pod_applied(&pod_meta(&json!({"name": pod, "uid": pod})));
    }
    assert_eq!(answer(&cluster, &[namespace_meta("shop", json!({}))], &[]).len(), 1);
}

#[test]
fn a_pod_that_no_watch_told_of_is_asked_for() {
    let unknown = |cluster: &Cluster| ask(cluster, &source("shop", UID), 2_000).map(|origin| origin.tenant);
    let shop = || namespace_meta("shop", json!({"labels": {TENANT: "acme"}}));
    // It is there, and the watch is behind.
    let behind = cluster();
    assert_eq!(unknown(&behind), Err("the metadata of its pod"));
    answer(&behind, &[shop()], &[pod_meta(&json!({}))]);
    assert_eq!(unknown(&behind), Ok("acme".into()));
    // It is gone, or another has its name: nobody can say in whose namespace it was, whatever is there by that name.
    for pods in [vec![], vec![pod_meta(&json!({"uid": "another"}))]] {
        let gone = cluster();
        gone.index().namespace_applied(&shop());
        assert_eq!(unknown(&gone), Err("the metadata of its pod"));
        answer(&gone, &[shop()], &pods);
        assert_eq!(unknown(&gone), Ok(UNASSIGNED.into()));
    }
    // What cannot be a name is not asked for.
    let odd = cluster();
    assert_eq!(ask(&odd, &source("a?b", UID), 2_000).map(|origin| origin.tenant), Ok(UNASSIGNED.into()));
    assert_eq!(odd.index().questions(), []);
}

/// A remembered origin is of the same pod, by its UID.
#[test]
fn a_pod_whose_tenant_is_remembered_does_not_wait_for_long() {
    let cluster = cluster();
    let origin = Origin { tenant: "acme".into(), ..Origin::default() };
    let remembered_after = |cluster: &Cluster, waited_ms| {
        let asked = Asked { waited_ms, remembered: Some(&origin) };
        matches!(cluster.lookup(&source("shop", UID), &asked), Lookup::Ready(context) if context.origin.tenant == "acme")
    };
    assert!(!remembered_after(&cluster, 0), "what its namespace is marked for is not known");
    assert!(remembered_after(&cluster, 1_000), "the API is away");
    pod(&cluster, json!({}));
    assert!(!remembered_after(&cluster, 0), "while the API is asked");
    assert!(remembered_after(&cluster, 1_000), "it does not answer");
    let gone = self::cluster();
    gone.pods_listed.set(()).unwrap();
    assert!(remembered_after(&gone, 0));
}

#[test]
fn lines_name_their_tenant_where_the_namespace_is_marked_for_it() {
    let body = br#"{"tenant":"acme","tenantId":17}"#;
    for (labels, pod_labels, expected) in [
        (
            json!({TENANT: "shared", TENANT_FROM: "body"}),
            json!({}),
            Some(("acme".to_owned(), "17".to_owned())),
        ),
        (json!({TENANT: "shared", TENANT_FROM: "label"}), json!({TENANT_FROM: "body"}), None),
        (json!({}), json!({}), None),
    ] {
        let cluster = answered(json!({"labels": labels}), json!({"labels": pod_labels}));
        let asked = Asked { waited_ms: 0, remembered: None };
        let Lookup::Ready(context) = cluster.lookup(&source("shop", UID), &asked) else { panic!("it waits") };
        assert_eq!(context.line_tenant(body), expected, "{labels}");
        assert_eq!(context.line_tenant(b"plain"), None);
    }
}

/// Whether lines are believed that call themselves audit records.
fn believes_audit(cluster: &Cluster, remembered: Option<&Origin>) -> bool {
    match cluster.lookup(&source("shop", UID), &Asked { waited_ms: 1 << 40, remembered }) {
        Lookup::Ready(context) => match &context.audit {
            AuditTrust::Shown => false,
            AuditTrust::Within(budget) => budget.bytes_per_hour() == 64 << 20,
            AuditTrust::Always => panic!("a pod has a budget"),
        },
        Lookup::Waiting(what) => panic!("{what}"),
    }
}

#[test]
fn lines_call_themselves_audit_records_where_the_namespace_is_marked_for_it() {
    let marked = json!({AUDIT_FROM: "body"});
    for (namespace_more, pod_more, expected) in [
        (json!({"labels": marked}), json!({}), true),
        (json!({"labels": {AUDIT_FROM: "label"}}), json!({}), false),
        (json!({"annotations": marked}), json!({"labels": marked, "annotations": marked}), false),
        (json!({}), json!({}), false),
    ] {
        let cluster = answered(namespace_more.clone(), pod_more);
        assert_eq!(believes_audit(&cluster, None), expected, "{namespace_more}");
    }
    // The mark is set, and taken away.
    let cluster = answered(json!({}), json!({}));
    namespace(&cluster, "shop", json!({"labels": marked}));
    assert!(believes_audit(&cluster, None));
    namespace(&cluster, "shop", json!({}));
    assert!(!believes_audit(&cluster, None));
    // Cordwood writes there who looked at what.
    let config = cordwood_service::parse_config(std::path::Path::new("x"), "kubernetes: {namespace: shop}");
    let cluster = Cluster::new(Static::new(&config.unwrap()), 1_000, Waker::new().unwrap());
    namespace(&cluster, "shop", json!({}));
    pod(&cluster, json!({}));
    answer(&cluster, &[namespace_meta("shop", json!({}))], &[]);
    assert!(believes_audit(&cluster, None));
}

/// What is kept too long can be dropped; what was kept too short is gone.
#[test]
fn a_remembered_pod_is_believed_while_nobody_says_what_its_namespace_is_marked_for() {
    let origin = Origin { tenant: "acme".into(), ..Origin::default() };
    let cluster = cluster();
    assert!(believes_audit(&cluster, Some(&origin)), "the API is away");
    namespace(&cluster, "shop", json!({}));
    assert!(!believes_audit(&cluster, Some(&origin)));
    namespace(&cluster, "shop", json!({"labels": {AUDIT_FROM: "body"}}));
    assert!(believes_audit(&cluster, Some(&origin)));
    // Of one that nobody knows nothing is believed, whatever is there by its namespace's name.
    let unknown = self::cluster();
    assert_eq!(ask(&unknown, &source("shop", UID), 2_000), Err("the metadata of its pod"));
    answer(&unknown, &[namespace_meta("shop", json!({"labels": {AUDIT_FROM: "body"}}))], &[]);
    assert!(!believes_audit(&unknown, None));
}

#[test]
fn a_deleted_pod_keeps_the_tenant_it_had() {
    let cluster = answered(json!({"labels": {TENANT: "acme"}}), json!({}));
    namespace(&cluster, "shop", json!({"labels": {TENANT: "moved"}}));
    cluster.index().pod_deleted("shop_web-1_0b8e");
    namespace(&cluster, "shop", json!({"uid": "second", "labels": {TENANT: "newcomer"}}));
    assert_eq!(tenant(&cluster), Ok("moved".into()));
    assert!(!cluster.is_alive(&source("shop", UID)));
}

/// The namespaces' watch is ahead of the pods'.
#[test]
fn a_pod_whose_namespace_was_recreated_keeps_what_its_own_said_last() {
    let cluster = answered(json!({"labels": {TENANT: "acme"}}), json!({}));
    namespace(&cluster, "shop", json!({"labels": {TENANT: "moved"}}));
    namespace(&cluster, "shop", json!({"uid": "second", "labels": {TENANT: "newcomer"}}));
    assert_eq!(tenant(&cluster), Ok("moved".into()));
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
        let cluster = answered(json!({}), more.clone());
        let origin = ask(&cluster, &source("shop", UID), 0).unwrap();
        assert_eq!((origin.service.as_str(), origin.workload.as_str()), (service, workload), "{more}");
    }
}

/// Anyone who may create pods may write the annotation that a static pod's mirror has.
#[test]
fn a_pod_that_claims_the_uid_of_another_does_not_take_its_place() {
    let cluster = answered(json!({"labels": {TENANT: "acme"}}), json!({"labels": {SERVICE: "web"}}));
    namespace(&cluster, "evil", json!({"labels": {TENANT: "evil"}}));
    let claim = json!({"kubernetes.io/config.mirror": UID});
    pod(&cluster, json!({"namespace": "evil", "uid": "0b8f", "annotations": claim}));
    answer(&cluster, &[namespace_meta("evil", json!({"labels": {TENANT: "evil"}}))], &[]);
    let origin = ask(&cluster, &source("shop", UID), 0).unwrap();
    assert_eq!((origin.tenant.as_str(), origin.service.as_str()), ("acme", "web"));
    cluster.index().pod_deleted("evil_web-1_0b8e");
    assert!(cluster.is_alive(&source("shop", UID)));
}

/// It is in every batch.
#[test]
fn an_annotation_may_be_long_and_a_name_may_not() {
    let cluster = answered(json!({}), json!({"annotations": {SERVICE: "s".repeat(200_000)}}));
    let service = ask(&cluster, &source("shop", UID), 0).unwrap().service;
    assert_eq!(service.len(), cordwood_core::limits::NAME_BYTES_MAX);
}

/// An API server that tells of every namespace, and that answers nothing about pods, on whatever connection it is asked.
async fn api_that_is_silent_about_pods() -> Client {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut connection, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") {
                    if connection.read_buf(&mut request).await.unwrap() == 0 {
                        return;
                    }
                }
                if String::from_utf8_lossy(&request).contains("/pods/") {
                    std::future::pending::<()>().await;
                }
                let meta = namespace_meta("shop", json!({"labels": {TENANT: "acme"}}));
                let body = json!({
                    "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": meta,
                })
                .to_string();
                let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close";
                let answer = format!("{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
                connection.write_all(answer.as_bytes()).await.unwrap();
            });
        }
    });
    Client::try_from(kube::Config::new(url.parse().unwrap())).unwrap()
}

/// The questions were asked one after the other without a limit: one that nobody answered kept all pods waiting.
#[tokio::test]
async fn a_question_that_is_not_answered_keeps_no_other_waiting() {
    let cluster = cluster();
    namespace(&cluster, "shop", json!({"labels": {TENANT: "acme"}}));
    pod(&cluster, json!({}));
    let unknown = ask(&cluster, &source("other", "unknown"), 2_000);
    assert_eq!(unknown, Err("the metadata of its pod"));
    let questions = cluster.index().questions();
    assert_eq!(questions.len(), 2);
    assert!(matches!(questions[0], Question::Pod { .. }), "it is asked first: {questions:?}");
    let client = api_that_is_silent_about_pods().await;
    let health = Health::new(&["owners"]);
    let says = || health.ready().err().unwrap_or_default();
    let is_done = async {
        while tenant(&cluster) != Ok("acme".into()) || !says().contains("get pods: no answer within") {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::select! {
        () = cluster.ask_each(&client, &health, Duration::from_secs(1)) => panic!("it goes on"),
        done = tokio::time::timeout(Duration::from_secs(20), is_done) => {
            assert!(done.is_ok(), "{:?}, {}", tenant(&cluster), says());
        }
    }
    assert_eq!(cluster.index().questions().len(), 1, "it is asked again");
}
