//! Logs of tasks: each line in its own task and once; a deleted task leaves nothing, anywhere; pages by an index.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use cordwood_core::batch::BatchBuilder;
use cordwood_core::filter;
use cordwood_core::identity::FileId;
use cordwood_core::level::Level;
use cordwood_core::origin::Origin;
use cordwood_core::record::Flags;
use cordwood_store::follow::Follow;
use cordwood_store::scope::{AdminReason, Scope};
use cordwood_store::search::{Page, TimeRange, count, search};
use cordwood_store::tasks::{self, Announced, Lines, Named, Task};
use cordwood_store::{Store, StoreError};
use cordwood_tests::batches::stdout_header;
use cordwood_tests::env::Postgres;
use cordwood_writer::{CommitSettings, Metrics, NoFeed, Parts, QueueSender, SealSettings, queue};
use prometheus::Registry;
use tokio_postgres::Client;
use tokio_util::sync::CancellationToken;

use super::support;

const ALL: Scope = Scope::all(AdminReason::Audit);
const TASKS: usize = 50;
/// `CORDWOOD_TASK_LINES` writes more lines of each task: as many rounds as it needs.
const ROUNDS: usize = 40;
/// Of each task in each round.
const LINES: usize = 25;

/// A container's file.
pub struct File {
    origin: Origin,
    number: u64,
    end: u64,
}

impl File {
    pub fn new(tenant: &str, namespace: &str, number: u64) -> File {
        let origin = Origin {
            tenant: tenant.into(),
            tenant_id: tenant.into(),
            namespace: namespace.into(),
            pod: format!("pod-{number}"),
            pod_uid: format!("uid-{number}"),
            container: "app".into(),
            service: "runner".into(),
            ..Origin::default()
        };
        File { origin, number, end: 0 }
    }

    /// The next lines as one message.
    pub fn message(&mut self, lines: &[(Level, String)]) -> Vec<u8> {
        let (prev, now) = (self.end, support::now_us());
        let mut builder = BatchBuilder::new();
        for (place, (level, body)) in lines.iter().enumerate() {
            self.end += body.len() as u64 + 1;
            builder.push((now + place as i64) * 1000, *level, Flags::default(), self.end, body.as_bytes());
        }
        let (pod, file) = (&self.origin.pod_uid, FileId(self.number + 1));
        let header = stdout_header(pod, "app", file, (prev, self.end), lines.len() as u64);
        builder.finish(&header, &self.origin, now * 1000)
    }
}

pub fn task_line(task: usize, seq: usize) -> (Level, String) {
    let body = format!(
        r#"{{"taskId":"task-{task}","message":"line {seq} of task {task}","metadata":{{"seq":{seq}}}}}"#
    );
    (Level::Info, body)
}

pub struct Writer {
    sender: QueueSender,
    stop: CancellationToken,
    pub metrics: Metrics,
    task: tokio::task::JoinHandle<Result<()>>,
}

impl Writer {
    pub fn start(store: &Store) -> Result<Writer> {
        let (sender, source) = queue(64 << 20);
        let stop = CancellationToken::new();
        let mut parts = Parts::new(store.clone(), &Registry::new(), stop.clone())?;
        parts.seal = SealSettings { enabled: false, ..SealSettings::default() };
        parts.commit = CommitSettings { linger_ms: 5, records_max: 3000, ..CommitSettings::default() };
        let metrics = parts.metrics.clone();
        let task = tokio::spawn(cordwood_writer::run(parts, source, Arc::new(NoFeed), Arc::default()));
        Ok(Writer { sender, stop, metrics, task })
    }

    pub async fn put(&self, file: &mut File, lines: &[(Level, String)]) -> Result<()> {
        self.sender.send(file.message(lines)).ok().context("the queue is full")?.await?;
        Ok(())
    }

    pub async fn end(self) -> Result<()> {
        self.stop.cancel();
        self.task.await?
    }
}

async fn one(store: &Store, scope: &Scope, task_id: &str) -> Result<Task> {
    match tasks::find(store, scope, task_id, None).await? {
        Named::One(task) => Ok(task),
        other => anyhow::bail!("{task_id}: {other:?}"),
    }
}

/// Records that name a task, by task, as a search gives them.
pub async fn searched(store: &Store) -> Result<HashMap<String, usize>> {
    let filter = filter::parse("EXISTS taskId")?;
    let (mut found, mut after) = (HashMap::new(), None);
    loop {
        let page = Page { after, ..Page::first(10_000) };
        let records = search(store, &ALL, &filter, TimeRange::default(), page, 60_000).await?;
        for record in &records.records {
            let body: serde_json::Value = serde_json::from_slice(&record.body)?;
            let namespace = &records.origins[&record.origin].namespace;
            let task = format!("{namespace} {}", body["taskId"].as_str().unwrap_or_default());
            *found.entry(task).or_default() += 1;
        }
        after = records.cursor;
        if after.is_none() {
            return Ok(found);
        }
    }
}

/// Of each task, in order, what its rows say that they are.
async fn rows(client: &Client) -> Result<BTreeMap<String, Vec<String>>> {
    let sql = "select namespace || ' ' || task_id, array_agg(message order by id) from task_logs group by 1";
    Ok(client.query(sql, &[]).await?.iter().map(|row| (row.get(0), row.get(1))).collect())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_tasks_at_once_on_postgresql_15() -> Result<()> {
    fifty_tasks(15).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_tasks_at_once_on_postgresql_18() -> Result<()> {
    fifty_tasks(18).await
}

/// Deletions come while lines come, and lines after deletions.
async fn fifty_tasks(version: u32) -> Result<()> {
    let lines = std::env::var("CORDWOOD_TASK_LINES").ok().and_then(|text| text.parse::<usize>().ok());
    let rounds = lines.map_or(ROUNDS, |lines| lines.div_ceil(LINES));
    let postgres = Postgres::start(version).await?;
    let store = support::store(&postgres, "tasks").await?;
    let client = postgres.client_of("tasks").await?;
    let mut follow = Follow::from_now(&store).await?;
    let writer = Writer::start(&store)?;
    let deleting = async {
        let mut lines = 0;
        for task in 0..10 {
            // As soon as it has written something.
            let id = format!("task-{task}");
            let mut ended = Named::None;
            while ended == Named::None {
                ended = tasks::delete(&store, &ALL, &id, Some("shop")).await?;
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
            ensure!(matches!(&ended, Named::One(task) if task.namespace == "shop"), "{ended:?}");
            lines += 1;
        }
        Ok::<_, anyhow::Error>(lines)
    };
    let writing = async {
        let (mut shop, mut bank) = (File::new("acme", "shop", 1), File::new("acme", "bank", 2));
        for round in 0..rounds {
            // Lines of all tasks, in turns.
            let lines: Vec<_> = (0..LINES)
                .flat_map(|line| (0..TASKS).map(move |task| task_line(task, round * LINES + line)))
                .chain([(Level::Info, r#"{"message":"of no task"}"#.to_owned())])
                .collect();
            writer.put(&mut shop, &lines).await?;
            // The same ids in another namespace: other tasks.
            writer.put(&mut bank, &lines[..TASKS]).await?;
        }
        // Late ones, after every deletion.
        Ok::<_, anyhow::Error>((shop, bank))
    };
    let (deleted, (mut shop, _)) = tokio::try_join!(deleting, writing)?;
    ensure!(deleted == 10);
    writer
        .put(&mut shop, &(0..TASKS).map(|task| task_line(task, rounds * LINES)).collect::<Vec<_>>())
        .await?;
    let (added, refused) = (writer.metrics.task_lines.get(), writer.metrics.task_lines_refused.get());
    writer.end().await?;

    let per_task = rounds * LINES + 1;
    let rows = rows(&client).await?;
    let expected: BTreeSet<String> = (10..TASKS)
        .map(|task| format!("shop task-{task}"))
        .chain((0..TASKS).map(|task| format!("bank task-{task}")))
        .collect();
    ensure!(rows.keys().cloned().collect::<BTreeSet<_>>() == expected, "{:?}", rows.keys());
    for task in 10..TASKS {
        let lines: Vec<String> = (0..per_task).map(|seq| format!("line {seq} of task {task}")).collect();
        ensure!(rows[&format!("shop task-{task}")] == lines, "task {task}");
    }
    for task in 0..TASKS {
        let lines: Vec<String> =
            (0..rounds).map(|seq| format!("line {} of task {task}", seq * LINES)).collect();
        ensure!(rows[&format!("bank task-{task}")] == lines, "task {task} of the bank");
    }
    let all = (TASKS * (per_task + rounds)) as u64;
    ensure!(added + refused == all && refused >= 10, "{added} added, {refused} refused, of {all}");

    // Nothing of a deleted task is found, and nothing of the others is missing.
    let found = searched(&store).await?;
    ensure!(found.keys().cloned().collect::<BTreeSet<_>>() == expected, "{:?}", found.keys());
    let is_whole =
        |(task, count): (&String, &usize)| *count == if task.starts_with("shop") { per_task } else { rounds };
    ensure!(found.iter().all(is_whole), "{found:?}");
    let everything = filter::parse("")?;
    // Each round has a line that is of no task.
    let counted = count(&store, &ALL, &everything, TimeRange::default(), 1_000_000, 60_000).await?;
    let all = found.values().sum::<usize>() + rounds;
    ensure!(counted.records() == all as u64, "{} counted, {all} found", counted.records());
    let mut seen = BTreeSet::new();
    loop {
        let news = follow.next(&ALL, &everything).await?;
        for record in &news.records {
            let body: serde_json::Value = serde_json::from_slice(&record.body)?;
            let namespace = follow.origin(record.origin).context("an origin")?.namespace.clone();
            if let Some(task) = body["taskId"].as_str() {
                seen.insert(format!("{namespace} {task}"));
            }
        }
        if !news.more {
            break;
        }
    }
    ensure!(seen == expected, "followed: {seen:?}");
    for (filter, expected) in
        [("taskId=task-3 namespace=shop", 0), ("taskId=task-3", rounds), ("\"of no task\"", rounds)]
    {
        let filter = filter::parse(filter)?;
        let page = search(&store, &ALL, &filter, TimeRange::default(), Page::first(1000), 60_000).await?;
        ensure!(page.records.len() == expected, "{filter:?}: {}", page.records.len());
    }
    ensure!(tasks::find(&store, &ALL, "task-3", Some("shop")).await? == Named::None);
    ensure!(tasks::announce(&store, "task-3", "shop", "acme").await? == Announced::Deleted);
    let full = "select count(*) from task_tombstones where not emptied";
    ensure!(client.query_one(full, &[]).await?.get::<_, i64>(0) == 0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whose_a_task_is_decides_who_sees_and_deletes_it() -> Result<()> {
    let postgres = Postgres::start(15).await?;
    let store = support::store(&postgres, "scopes").await?;
    let writer = Writer::start(&store)?;
    let (mut acme, mut other) = (File::new("acme", "shop", 1), File::new("other", "shop", 2));
    writer.put(&mut acme, &[task_line(1, 0), task_line(1, 1)]).await?;
    writer.put(&mut other, &[task_line(1, 2)]).await?;
    let (of_acme, of_other) = (Scope::of_tenants(["acme"]), Scope::of_tenants(["other"]));
    let messages = async |scope: &Scope| -> Result<Vec<String>> {
        let task = one(&store, scope, "task-1").await?;
        let logged = task.lines(&store, &Lines::default(), 0, 10).await?;
        ensure!(logged.total == logged.lines.len() as u64);
        Ok(logged.lines.into_iter().map(|line| line.message).collect())
    };
    let line = |seq: usize| format!("line {seq} of task 1");
    ensure!(messages(&of_acme).await? == [line(0), line(1)]);
    ensure!(messages(&of_other).await? == [line(2)]);
    ensure!(messages(&ALL).await? == [line(0), line(1), line(2)]);
    for none in
        [of_acme.clone().in_namespaces(["bank"]), Scope::of_tenants(["third"]), Scope::of_tenants([""; 0])]
    {
        ensure!(tasks::find(&store, &none, "task-1", None).await? == Named::None, "{none:?}");
        ensure!(tasks::delete(&store, &none, "task-1", None).await? == Named::None, "{none:?}");
    }
    // The other's part goes, and keeps nothing of this one's from coming.
    ensure!(matches!(tasks::delete(&store, &of_other, "task-1", None).await?, Named::One(_)));
    writer.put(&mut acme, &[task_line(1, 3)]).await?;
    writer.put(&mut other, &[task_line(1, 4)]).await?;
    ensure!(messages(&ALL).await? == [line(0), line(1), line(3)]);
    ensure!(tasks::find(&store, &of_other, "task-1", None).await? == Named::None);
    ensure!(searched(&store).await? == HashMap::from([("shop task-1".to_owned(), 3)]));
    // Two namespaces have such a task.
    writer.put(&mut File::new("acme", "bank", 3), &[task_line(1, 5)]).await?;
    let several = Named::Several(vec!["bank".to_owned(), "shop".to_owned()]);
    ensure!(tasks::find(&store, &ALL, "task-1", None).await? == several);
    ensure!(tasks::delete(&store, &ALL, "task-1", None).await? == several);
    ensure!(messages(&ALL.in_namespaces(["bank"])).await? == [line(5)]);
    writer.end().await
}

/// What PostgreSQL would refuse stops nobody.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_a_line_says_is_stored() -> Result<()> {
    let postgres = Postgres::start(18).await?;
    let store = support::store(&postgres, "hostile").await?;
    let writer = Writer::start(&store)?;
    let deep = format!("{}1{}", "[".repeat(5_000), "]".repeat(5_000));
    let bodies = [
        r#"{"taskId":"t","message":"a\u0000b","source":"s\u0000","metadata":{"k\u0000":"\u0000"}}"#
            .to_owned(),
        r#"{"taskId":"t","message":"m","metadata":{"n":1e999,"m":-1e-999999}}"#.to_owned(),
        r#"{"taskId":"t","message":"\ud800","metadata":{"s":"\udfff"}}"#.to_owned(),
        format!(r#"{{"taskId":"t","message":"m","metadata":{{"deep":{deep}}}}}"#),
        format!(r#"{{"taskId":"t","message":"{}"}}"#, "m".repeat(2 << 20)),
        format!(r#"{{"taskId":"{}","message":"m"}}"#, "i".repeat(100_000)),
        r#"{"taskId":"t\u0000","message":"m","number":1.7976931348623157e308,"small":5e-324}"#.to_owned(),
        r#"{"taskId":"'; drop table task_logs; --","message":"m"}"#.to_owned(),
    ];
    let lines: Vec<_> = bodies.into_iter().map(|body| (Level::Info, body)).collect();
    writer.put(&mut File::new("acme", "shop", 1), &lines).await?;
    ensure!(writer.metrics.task_lines.get() == 7, "{}", writer.metrics.task_lines.get());
    let cut = |what: &str| writer.metrics.task_cuts.with_label_values(&[what]).get();
    ensure!(
        (cut("message"), cut("metadata"), cut("id")) == (1, 3, 1),
        "{} {} {}",
        cut("message"),
        cut("metadata"),
        cut("id")
    );
    ensure!(writer.metrics.dead_letters.get() == 0 && writer.metrics.records.get() == 8);
    let task = one(&store, &ALL, "t").await?;
    ensure!(task.lines(&store, &Lines::default(), 0, 10).await?.total == 5);
    ensure!(matches!(tasks::delete(&store, &ALL, "t\u{fffd}", None).await?, Named::One(_)));
    ensure!(matches!(tasks::delete(&store, &ALL, "'; drop table task_logs; --", None).await?, Named::One(_)));
    writer.end().await
}

/// A deletion that ended between its two steps: nothing is seen, and pruning takes the lines.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_deletion_leaves_behind_goes_with_pruning() -> Result<()> {
    let postgres = Postgres::start(15).await?;
    let store = support::store(&postgres, "halfway").await?;
    let client = postgres.client_of("halfway").await?;
    let writer = Writer::start(&store)?;
    let mut file = File::new("acme", "shop", 1);
    writer.put(&mut file, &[task_line(1, 0), task_line(2, 0)]).await?;
    client
        .batch_execute(
            "delete from tasks where task_id = 'task-1'; \
             insert into task_tombstones (task_id, namespace, tenant) values ('task-1', 'shop', 'acme')",
        )
        .await?;
    ensure!(tasks::find(&store, &ALL, "task-1", None).await? == Named::None);
    ensure!(rows(&client).await?.len() == 2);
    let mut session = cordwood_store::ddl::DdlSession::open(&store, cordwood_store::ddl::Loop::Drop)
        .await?
        .context("the drop loop's session")?;
    cordwood_store::prune::prune(&mut session).await?;
    ensure!(rows(&client).await?.into_keys().collect::<Vec<_>>() == ["shop task-2"]);
    // The tombstone stays as long as a record of its task may, and goes then.
    support::classes(&client).await?;
    let old =
        "update task_tombstones set deleted = now() - interval '40 days', seen = now() - interval '40 days'";
    cordwood_store::prune::prune(&mut session).await?;
    ensure!(searched(&store).await?.len() == 1);
    client.batch_execute(old).await?;
    // A line that comes late keeps it.
    writer.put(&mut file, &[task_line(1, 1)]).await?;
    cordwood_store::prune::prune(&mut session).await?;
    ensure!(searched(&store).await?.len() == 1 && rows(&client).await?.len() == 1);
    client.batch_execute(old).await?;
    cordwood_store::prune::prune(&mut session).await?;
    let left = client.query_one("select count(*) from task_tombstones", &[]).await?;
    ensure!(left.get::<_, i64>(0) == 0);
    writer.end().await
}

/// 1,000 of 100,000 lines, and by source: an index gives the order, and nothing is sorted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_of_a_large_task_is_read_by_an_index() -> Result<()> {
    for version in [15, 18] {
        let postgres = Postgres::start(version).await?;
        let store = support::store(&postgres, "large").await?;
        let client = postgres.client_of("large").await?;
        client
            .batch_execute(
                "insert into tasks (task_id, namespace, tenant) select 'task-' || n, 'shop', 'acme' from generate_series(0, 9) n;
                 insert into task_logs (task_id, namespace, tenant, \"timestamp\", level, source, message, metadata,
                     topic_partition, kafka_offset, record_index)
                   select 'task-' || case when n % 2 = 0 then 0 else n % 9 + 1 end, 'shop', 'acme',
                     now() - interval '1 hour' + n * interval '1 ms',
                     (array['DEBUG', 'INFO', 'INFO', 'WARNING', 'ERROR'])[1 + n / 2 % 5],
                     (array['system', 'plugin', 'superset_api'])[1 + n / 2 % 3], 'line ' || n,
                     jsonb_build_object('progress', n % 100), 0, n, 0 from generate_series(0, 199999) n",
            )
            .await?;
        client.batch_execute("vacuum analyze task_logs").await?;
        let task = one(&store, &ALL, "task-0").await?;
        let seen = vec!["INFO", "WARNING", "ERROR"];
        let of_source =
            Lines { levels: seen.clone(), sources: vec!["plugin".to_owned()], ..Lines::default() };
        for (wanted, index) in [
            (Lines { levels: seen.clone(), ..Lines::default() }, "task_logs_task"),
            (of_source, "task_logs_source"),
        ] {
            let count = task.lines(&store, &wanted, 0, 1).await?.total;
            // The first, from the middle, and the last, which are read from the end.
            for (offset, scan) in [
                (0, "Index Scan"),
                (count / 2 - 1000, "Index Only Scan"),
                (count - 1000, "Index Scan Backward"),
            ] {
                let plans = task.explain(&store, &wanted, offset, 1000).await?;
                println!(
                    "PostgreSQL {version}, {wanted:?} from {offset} of {count}:\n{}\n",
                    plans.join("\n")
                );
                ensure!(plans.len() == 1, "the total was counted: {}", plans[1]);
                ensure!(plans[0].contains(&format!("{scan} using {index}")), "{}", plans[0]);
                ensure!(!plans[0].contains("external merge"), "{}", plans[0]);
            }
            let logged = task.lines(&store, &wanted, 0, 1000).await?;
            ensure!(logged.lines.len() == 1000, "{}", logged.lines.len());
            ensure!(logged.lines.is_sorted_by_key(|line| line.time_us));
        }
        // What the counts cannot say is counted, by an index too.
        let text = Lines { search: Some("line 77".to_owned()), ..Lines::default() };
        let plans = task.explain(&store, &text, 0, 1000).await?;
        ensure!(plans.len() == 2 && !plans[1].contains("Seq Scan"), "{plans:?}");
        let stats = task.stats(&store).await?;
        let levels = [("DEBUG", 20_000), ("ERROR", 20_000), ("INFO", 40_000), ("WARNING", 20_000)];
        ensure!(stats.by_level == levels.map(|(level, count)| (level.to_owned(), count)), "{stats:?}");
        ensure!(stats.by_source.iter().map(|source| source.1).sum::<u64>() == 100_000);
    }
    Ok(())
}

/// What stands in the way of a deletion ends it: nothing was done, and it can be tried again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deletion_waits_for_writers_and_not_for_ever() -> Result<()> {
    let postgres = Postgres::start(15).await?;
    let store = support::store(&postgres, "waits").await?;
    let client = postgres.client_of("waits").await?;
    ensure!(tasks::announce(&store, "t", "shop", "acme").await? == Announced::New);
    ensure!(tasks::announce(&store, "t", "shop", "acme").await? == Announced::Known);
    let lock = format!(
        "begin; select pg_advisory_xact_lock_shared({}, {})",
        cordwood_store::migrate::LOCK_SPACE,
        cordwood_store::migrate::LOCK_TASKS
    );
    client.batch_execute(&lock).await?;
    let error = tasks::delete(&store, &ALL, "t", None).await.expect_err("a transaction is under way");
    ensure!(StoreError::is_transient(&error), "{error}");
    ensure!(one(&store, &ALL, "t").await?.tenants == ["acme"]);
    client.batch_execute("commit").await?;
    ensure!(matches!(tasks::delete(&store, &ALL, "t", None).await?, Named::One(_)));
    Ok(())
}
