//! Lines that name their tenant, from a file to messages: whose each is, and that nothing is missing between them.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use cordwood_core::batch::{Provenance, decode};
use cordwood_core::identity::StreamKey;
use cordwood_core::tenancy::{TENANT, TENANT_FROM};
use cordwood_service::Health;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::cluster::Cluster;
use crate::{Ack, Config, ContextSource, Refused, Sink, Static, Telemetry, Waker};

/// Takes all: from and to where a batch reaches, whose it is, its bodies.
#[derive(Clone, Default)]
struct Taken(Arc<Mutex<Vec<Batch>>>);

type Batch = (u64, u64, String, Vec<String>);

impl Sink for Taken {
    fn send(&mut self, _: &StreamKey, payload: Vec<u8>, ack: Ack) -> Result<(), Refused> {
        for batch in decode(&payload.into(), Provenance::Agent).unwrap() {
            let header = batch.header.unwrap();
            let bodies =
                batch.records.iter().map(|record| String::from_utf8_lossy(&record.body).into_owned());
            let tenant = format!("{}/{}", batch.origin.tenant, batch.origin.tenant_id);
            self.0.lock().unwrap().push((header.prev, header.end, tenant, bodies.collect()));
        }
        ack.acknowledge();
        Ok(())
    }

    fn reset(&mut self) {}
}

/// All that is sent of `bodies` until the last was.
async fn sent(labels: serde_json::Value, bodies: &[&str]) -> Vec<Batch> {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("pods/shop_web-1_0b8e/app");
    std::fs::create_dir_all(&run).unwrap();
    let line = |body: &&str| format!("2026-11-29T12:00:00.000000000Z stdout F {body}\n");
    std::fs::write(run.join("0.log"), bodies.iter().map(line).collect::<String>()).unwrap();
    let yaml = format!(
        "{{node: n, pods_dir: {0}/pods, state_dir: {0}/state, kubernetes: {{namespace: x}}, tenants: {{allowed: [shared, acme, bank]}}, \
         batch: {{linger_ms: 5}}, read: {{poll_interval_ms: 3, scan_interval_ms: 50}}}}",
        folder.path().display()
    );
    let config: Config = cordwood_service::parse_config(Path::new("test"), &yaml).unwrap();
    let config = config.resolve(|_| None).unwrap();
    let waker = Waker::new().unwrap();
    let cluster = Cluster::new(Static::new(&config), 1_000, waker.clone());
    cluster.knows(
        &json!({"name": "shop", "uid": "first", "labels": labels}),
        &json!({"name": "web-1", "namespace": "shop", "uid": "0b8e"}),
    );
    let telemetry = Telemetry::new(&prometheus::Registry::new()).unwrap();
    let (_rules, rules) = tokio::sync::watch::channel(Arc::default());
    let (taken, shutdown, health) = (Taken::default(), CancellationToken::new(), Health::new(&[]));
    let context = ContextSource::Kubernetes(cluster);
    let environment = crate::Environment { context, rules, waker, telemetry, health };
    let running = tokio::spawn(crate::run(config, taken.clone(), environment, shutdown.clone()));
    let began = Instant::now();
    let is_last = |batch: &Batch| batch.3.last().map(String::as_str) == bodies.last().copied();
    while !taken.0.lock().unwrap().iter().any(is_last) {
        assert!(began.elapsed() < Duration::from_secs(60), "{:?}", taken.0.lock().unwrap());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    shutdown.cancel();
    running.await.unwrap().unwrap();
    taken.0.lock().unwrap().clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_line_is_of_the_tenant_that_it_names_and_the_batches_tile_the_file() {
    const BODIES: [&str; 8] = [
        r#"{"tenant":"acme","n":1}"#,
        r#"{"tenant":"acme","n":2}"#,
        r#"{"tenant":"bank","tenantId":7,"n":3}"#,
        "no tenant",
        r#"{"n":5}"#,
        r#"{"tenant":"evil","n":6}"#,
        r#"{"tenant":"acme","n":7}"#,
        "the end",
    ];
    let of_each = |batches: &[Batch]| -> Vec<(String, String)> {
        let each = |batch: &Batch| {
            let (tenant, bodies) = (batch.2.clone(), batch.3.clone());
            bodies.into_iter().map(move |body| (tenant.clone(), body))
        };
        batches.iter().flat_map(each).collect()
    };
    let all = |tenants: [&str; 8]| -> Vec<(String, String)> {
        tenants.iter().zip(BODIES).map(|(tenant, body)| (tenant.to_string(), body.to_owned())).collect()
    };
    const SHARED: &str = "shared/shared";
    let marked = sent(json!({TENANT: "shared", TENANT_FROM: "body"}), &BODIES).await;
    let expected =
        ["acme/acme", "acme/acme", "bank/7", SHARED, SHARED, "unassigned/unassigned", "acme/acme", SHARED];
    assert_eq!(of_each(&marked), all(expected), "{marked:?}");
    assert!(marked.len() >= 6 && marked[0].0 == 0, "{marked:?}");
    assert!(marked.windows(2).all(|pair| pair[0].1 == pair[1].0), "{marked:?}");
    let plain = sent(json!({TENANT: "shared"}), &BODIES).await;
    assert_eq!(of_each(&plain), all([SHARED; 8]), "{plain:?}");
}
