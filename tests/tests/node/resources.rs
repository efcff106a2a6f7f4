//! Policies and levels as a person at a terminal meets them: a policy and a level config, applied and edited by `kubectl` on
//! a node with the installed release, while a query in a loop watches that nothing goes that should not.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use cordwood_core::filter;
use cordwood_generator::Stream;
use cordwood_store::Store;
use cordwood_store::connect::Settings;
use cordwood_store::scope::{AdminReason, Scope};
use cordwood_store::search::{OwnedRecord, Page, TimeRange, search};
use cordwood_tests::env::{NodeOptions, image, wait_for};
use cordwood_tests::http::metric;
use cordwood_tests::release::{NAMESPACE, Part, Release};
use jiff::Timestamp;
use serde_json::json;
use tokio::task::JoinHandle;

use super::gateway;

const PATIENCE: Duration = Duration::from_secs(90);
const MINUTE_US: i64 = 60_000_000;
/// Of one pod.
const LINES_PER_S: &str = "60";

const POLICY: &str = "
apiVersion: cordwood.dev/v1alpha1
kind: LogRetentionPolicy
metadata: {name: shops}
spec:
  priority: 10
  match: {tenants: [shop-*]}
  retention: {error: 10m, warn: 10m, info: 10m, debug: 10m}
  gracePeriod: 3m
  dropLimit: {partitions: 1000, bytes: 50Gi}
";

const QUIET: &str = "
apiVersion: cordwood.dev/v1alpha1
kind: LogLevelConfig
metadata: {name: quiet, namespace: noisy}
spec:
  selector: {matchLabels: {app: noisy}}
  level: ERROR
  duration: 60s
";

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_is_edited_and_a_service_is_quieted() -> Result<()> {
    let options = NodeOptions { log_size_max: "10Mi".to_owned(), log_files_max: 5, log_look_every_s: 3 };
    let values = json!({
        "writer": {"config": {"seal": {"interval_seconds": 5}}},
        "operator": {"config": {"retention": {"notice_ms": 5_000, "pass_interval_ms": 2_000}}},
        "gateway": gateway::values(),
    });
    let release = Release::install(options, values).await?;
    let outcome = tell(&release).await;
    if outcome.is_err() {
        println!("{}", release.story());
    }
    outcome?;
    release.node.stop()
}

async fn tell(release: &Release) -> Result<()> {
    let store = Store::connect(&Settings::url(release.database_url())).await?;
    for (namespace, tenant) in [("shop", "shop-eu"), ("noisy", "noisy-eu")] {
        release.node.kubectl(&["create", "namespace", namespace])?;
        release.node.kubectl(&["label", "namespace", namespace, &format!("cordwood.dev/tenant={tenant}")])?;
    }

    // D: classes, and with the first records partitions.
    let began = Instant::now();
    apply(release, POLICY)?;
    let made = "select count(*) from classes c where c.policy = 'shops'
                and exists (select from routes, jsonb_array_elements(body) r where r->>'policy' = c.policy)";
    wait_for("classes and routes of the policy", Duration::from_secs(5), || async {
        let classes = count(release, made).await?;
        ensure!(classes == 4, "{classes} of 4 classes are routed to");
        Ok(())
    })
    .await?;
    println!("D: policy applied -> classes and routes: {:?}", began.elapsed());

    generate(release, "shop", "web")?;
    generate(release, "noisy", "noisy")?;
    let started_us = Timestamp::now().as_microsecond();
    let watch = Watch::start(store.clone(), 10 * MINUTE_US);
    let sealed = "select coalesce(sum(b.count), 0)::bigint from blocks b join classes c on c.id = b.class
                  where c.policy = 'shops'";
    wait_for("sealed records in the policy's classes", PATIENCE, || async {
        let sealed = count(release, sealed).await?;
        ensure!(sealed > 0, "{sealed} records");
        Ok(())
    })
    .await?;

    quiet_a_service(release, &store).await?;

    // In the time that the next step waits for anyway.
    gateway::serves(release, &store, "shop", "noisy").await?;

    // What is to expire must have been written more than a minute and a partition ago.
    wait_for("lines of more than two minutes", Duration::from_secs(240), || async {
        let left = started_us + 135_000_000 - Timestamp::now().as_microsecond();
        ensure!(left <= 0, "{} s left", left / 1_000_000);
        Ok(())
    })
    .await?;
    shorten_and_raise(release, &watch).await?;
    let rounds = watch.end().await?;
    let commit =
        metric(&endpoint(release, Part::Writer).await?, "cordwood_writer_commit_max_seconds").await?;
    println!(
        "D: a query in a loop saw every record exactly once in each of {rounds} rounds; the writer's longest commit {:.1} ms",
        commit * 1_000.0
    );
    ensure!(rounds >= 20, "only {rounds} rounds of queries");
    Ok(())
}

/// `kubectl edit` to a minute: announced, detached; raised: back; shortened again without grace: dropped.
async fn shorten_and_raise(release: &Release, watch: &Watch) -> Result<()> {
    // What the longer retention would still keep, and with records: everything else goes in the course of things.
    let edited = Timestamp::now();
    let detached = format!(
        "select count(*), min(l.detached) from leaves l join classes c on c.id = l.class
         where c.policy = 'shops' and l.detached > '{edited}' and l.time_to > '{edited}'::timestamptz - interval '8 minutes'"
    );
    let announced = tokio::spawn(first_plan(release.node.client().await?));
    watch.allow(MINUTE_US);
    edit(release, "10m", "1m")?;
    wait_for("partitions to be detached", PATIENCE, || async {
        ensure!(count(release, &detached).await? > 0);
        Ok(())
    })
    .await?;
    let shown = announced.await??;
    let client = release.postgres.client_of("cordwood").await?;
    let first: Timestamp = client.query_one(&detached, &[]).await.context("read leaves")?.get(1);
    ensure!(shown < first, "the plan was in the status at {shown}, the first detach was at {first}");
    println!(
        "D: the plan was in the status {:.1} s before the first detach",
        (first - shown).total(jiff::Unit::Second)?
    );
    wait_for("records to be out of sight", PATIENCE, || async {
        ensure!(watch.hidden(), "the first record of the stream is still seen");
        Ok(())
    })
    .await?;
    println!("{}", release.node.kubectl(&["get", "lrp"])?);
    println!("{}", release.node.kubectl(&["describe", "lrp", "shops"])?);
    let dropped =
        "select count(*) from ledger where step = 'drop' and policy = 'shops' and why not like '%empty'";
    ensure!(count(release, dropped).await? == 0, "records were dropped within the grace period");

    edit(release, "1m", "10m")?;
    wait_for("the records to be back", PATIENCE, || async {
        ensure!(!watch.hidden(), "the first record of the stream is not seen");
        Ok(())
    })
    .await?;
    println!("D: raised within the grace period: the records are back");
    edit(release, "gracePeriod: 3m", "gracePeriod: 1s")?;
    edit(release, "10m", "1m")?;
    wait_for("partitions to be dropped", PATIENCE, || async {
        let dropped = count(release, dropped).await?;
        ensure!(dropped > 0, "none with records was");
        Ok(())
    })
    .await?;
    println!("{}", release.node.kubectl(&["describe", "lrp", "shops"])?);
    Ok(())
}

/// E: the gate acts within a second, counts what it drops, and stops by itself while the operator is unavailable.
async fn quiet_a_service(release: &Release, store: &Store) -> Result<()> {
    let agent = endpoint(release, Part::Agent).await?;
    let gated = "cordwood_agent_records_gated_total";
    ensure!(metric(&agent, gated).await? == 0.0, "something was gated before there was a rule");
    let began = Instant::now();
    apply(release, QUIET)?;
    let (applied, applied_at) = (began.elapsed(), Timestamp::now());
    while metric(&agent, gated).await? == 0.0 {
        ensure!(began.elapsed() < Duration::from_secs(10), "the gate has dropped nothing after 10 s");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    println!(
        "E: kubectl apply took {applied:?}; {:?} after it returned the gate had dropped a line",
        began.elapsed().saturating_sub(applied)
    );
    wait_for("agents 1/1", PATIENCE, || async {
        let shown = release.node.kubectl(&["get", "llc", "--namespace", "noisy"])?;
        ensure!(shown.contains("1/1"), "{shown}");
        println!("{shown}");
        Ok(())
    })
    .await?;
    let path = "jsonpath={.status.expiresAt}";
    let ends: Timestamp =
        release.node.kubectl(&["get", "llc", "quiet", "--namespace", "noisy", "-o", path])?.parse()?;
    scale_operator(release, 0)?;
    wait_for("the operator to be gone", PATIENCE, || async {
        let pods = release.pods(Part::Operator).await?.len();
        ensure!(pods == 0, "{pods} pods");
        Ok(())
    })
    .await?;
    let newest_us = wait_for("lines to flow again", Duration::from_secs(120), || async {
        let newest = below_error(store, None).await?.first().map(|record| record.time_us).unwrap_or_default();
        ensure!(newest > ends.as_microsecond(), "none yet");
        Ok(newest)
    })
    .await?;
    ensure!(newest_us > ends.as_microsecond());
    // The last line before the gap, and the first after it. (A line that was written in the rule's last moment and read
    // after it is kept.)
    let until = ends.as_microsecond() - 5_000_000;
    let before = below_error(store, Some((applied_at.as_microsecond() - MINUTE_US, until))).await?;
    let last = before.first().context("no line below ERROR before the rule")?.time_us;
    let after = below_error(store, Some((ends.as_microsecond(), i64::MAX))).await?;
    let first = after.last().context("no line below ERROR after the rule")?.time_us;
    println!(
        "E: the last line below ERROR was written {:.3} s after kubectl apply returned, the next one {:.3} s after the end of the rule, \
         the operator being scaled to zero; {} lines were dropped and counted",
        (last - applied_at.as_microsecond()) as f64 / 1e6,
        (first - ends.as_microsecond()) as f64 / 1e6,
        metric(&agent, gated).await?
    );
    ensure!(
        last - applied_at.as_microsecond() < 5_000_000,
        "lines below ERROR went on after the rule was applied"
    );
    scale_operator(release, 1)?;
    wait_for("the operator to be back", PATIENCE, || async {
        let pods = release.pods(Part::Operator).await?;
        let ready = pods.iter().any(|pod| {
            let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
            conditions.is_some_and(|all| all.iter().any(|c| c.type_ == "Ready" && c.status == "True"))
        });
        ensure!(ready, "not ready: {}", release.logs(Part::Operator, 5));
        Ok(())
    })
    .await
}

/// Records below ERROR of the noisy service, newest first; of `range` (microseconds) all, else the newest.
async fn below_error(store: &Store, range: Option<(i64, i64)>) -> Result<Vec<OwnedRecord>> {
    // (Lines of no byte and of one have no level: a rule keeps them.)
    let filter = filter::parse("namespace:noisy level<error -level:unknown")
        .map_err(|error| anyhow::anyhow!("{error}"))?;
    let scope = Scope::all(AdminReason::Audit);
    let page = Page::first(if range.is_some() { 10_000 } else { 1 });
    let range =
        range.map_or(TimeRange::default(), |(from, to)| TimeRange { from_us: Some(from), to_us: Some(to) });
    Ok(search(store, &scope, &filter, range, page, 30_000).await?.records)
}

/// When the status first shows that a shorter retention is going to be in force.
async fn first_plan(client: kube::Client) -> Result<Timestamp> {
    use cordwood_crds::LogRetentionPolicy;
    let api: kube::Api<LogRetentionPolicy> = kube::Api::all(client);
    for _ in 0..1_200 {
        let plan = api.get("shops").await?.status.and_then(|status| status.plan);
        if plan.is_some_and(|plan| plan.held.iter().any(|held| held.what.contains("10m -> 1m"))) {
            return Ok(Timestamp::now());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    bail!("no plan in the status within a minute")
}

/// The query in a loop: every record of the shop that must be there, once, at every moment.
struct Watch {
    store: Store,
    /// Records older than this may be gone: microseconds.
    retention_us: Arc<AtomicI64>,
    /// The lowest line number that the last round saw, of the stream that began first.
    lowest: Arc<AtomicI64>,
    task: JoinHandle<Result<u64>>,
    over: tokio_util::sync::CancellationToken,
}

impl Watch {
    fn start(store: Store, retention_us: i64) -> Watch {
        let retention = Arc::new(AtomicI64::new(retention_us));
        let lowest = Arc::new(AtomicI64::new(1));
        let over = tokio_util::sync::CancellationToken::new();
        let task = tokio::spawn({
            let (store, retention, lowest, over) =
                (store.clone(), retention.clone(), lowest.clone(), over.clone());
            async move {
                let (mut rounds, mut highest) = (0, BTreeMap::new());
                while !over.is_cancelled() {
                    round(&store, &retention, &lowest, &mut highest)
                        .await
                        .with_context(|| format!("round {rounds} of queries"))?;
                    rounds += 1;
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
                Ok(rounds)
            }
        });
        Watch { store, retention_us: retention, lowest, task, over }
    }

    fn allow(&self, retention_us: i64) {
        self.retention_us.store(retention_us, Ordering::SeqCst);
    }

    fn hidden(&self) -> bool {
        self.lowest.load(Ordering::SeqCst) > 2
    }

    async fn end(self) -> Result<u64> {
        self.over.cancel();
        let rounds = self.task.await.context("the query loop")??;
        drop(self.store);
        Ok(rounds)
    }
}

async fn round(
    store: &Store,
    retention_us: &AtomicI64,
    lowest: &AtomicI64,
    highest: &mut BTreeMap<String, u64>,
) -> Result<()> {
    let filter = filter::parse("namespace:shop").map_err(|error| anyhow::anyhow!("{error}"))?;
    let scope = Scope::all(AdminReason::Audit);
    let mut streams = BTreeMap::<String, BTreeMap<u64, i64>>::new();
    let mut page = Page::first(5_000);
    loop {
        let found = search(store, &scope, &filter, TimeRange::default(), page, 30_000).await?;
        for record in &found.records {
            let Some(claim) = cordwood_generator::claim(&record.body) else { continue };
            let twice = streams.entry(claim.stream.to_owned()).or_default().insert(claim.seq, record.time_us);
            ensure!(twice.is_none(), "line {} of {} is seen twice", claim.seq, claim.stream);
        }
        page.after = found.cursor;
        if found.cursor.is_none() {
            break;
        }
    }
    let may_be_gone_us = Timestamp::now().as_microsecond() - retention_us.load(Ordering::SeqCst) + 1_000_000;
    for (name, lines) in &streams {
        let mut before = 0;
        for (seq, time_us) in lines {
            let missing = (before + 1..*seq).find(|seq| !Stream::is_bare(*seq));
            if let Some(missing) = missing {
                ensure!(
                    *time_us <= may_be_gone_us,
                    "line {missing} of {name} is not seen, and {seq} is only {} s too young to be gone",
                    (*time_us - may_be_gone_us) / 1_000_000
                );
            }
            before = *seq;
        }
        let last = highest.insert(name.clone(), before).unwrap_or_default();
        ensure!(before >= last, "line {last} of {name} was seen before, now only {before}");
    }
    ensure!(streams.len() >= highest.len(), "a stream was seen before and is not seen now");
    if let Some(first) =
        streams.iter().find(|(name, _)| !name.ends_with(".err")).and_then(|(_, lines)| lines.keys().next())
    {
        lowest.store(first.cast_signed(), Ordering::SeqCst);
    }
    Ok(())
}

fn generate(release: &Release, namespace: &str, name: &str) -> Result<()> {
    release.node.kubectl(&[
        "--namespace",
        namespace,
        "run",
        name,
        "--image-pull-policy=Never",
        "--image",
        image::GENERATOR,
        "--labels",
        &format!("app={name}"),
        "--",
        "run",
        "--run",
        "resources",
        "--stream",
        name,
        "--lines",
        "1000000",
        "--rate",
        LINES_PER_S,
    ])?;
    Ok(())
}

fn apply(release: &Release, yaml: &str) -> Result<()> {
    let file = release.folder("applied")?.join("resource.yaml");
    std::fs::write(&file, yaml).context("write a resource")?;
    release.node.kubectl(&["apply", "-f", &file.display().to_string()]).map(drop)
}

/// `kubectl edit` with an editor that replaces all `from` by `to`.
fn edit(release: &Release, from: &str, to: &str) -> Result<()> {
    release.node.kubectl_edit(&["edit", "lrp", "shops"], &format!("sed -i 's/{from}/{to}/g'"))?;
    Ok(())
}

fn scale_operator(release: &Release, replicas: u32) -> Result<()> {
    let replicas = format!("--replicas={replicas}");
    release
        .node
        .kubectl(&["--namespace", NAMESPACE, "scale", "deployment", "cordwood-operator", &replicas])
        .map(drop)
}

/// Where a part's only pod answers.
async fn endpoint(release: &Release, part: Part) -> Result<String> {
    let pods = release.pods(part).await?;
    let ip =
        pods.iter().find_map(|pod| pod.status.as_ref()?.pod_ip.clone()).context("a pod with an address")?;
    Ok(format!("{ip}:9600"))
}

/// The first column of a statement's only row.
async fn count(release: &Release, sql: &str) -> Result<i64> {
    let client = release.postgres.client_of("cordwood").await?;
    Ok(client.query_one(sql, &[]).await.with_context(|| sql.to_owned())?.try_get(0)?)
}
