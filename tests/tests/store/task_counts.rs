//! Counts of tasks are what their rows are, no matter who asks and which version wrote them; and tasks that end by age.

use anyhow::{Context, Result, ensure};
use cordwood_store::ddl::{DdlSession, Loop};
use cordwood_store::scope::{AdminReason, Scope};
use cordwood_store::tasks::{self, Ended, Lines, Named, Stats, Task, end_aged};
use cordwood_store::{Store, migrate};
use cordwood_tests::env::Postgres;
use tokio_postgres::Client;

use super::support;
use super::tasks::{File, Writer, searched, task_line};

const ALL: Scope = Scope::all(AdminReason::Audit);
const DAY_MS: u64 = 86_400_000;

/// Rows of two tenants and of two tasks, by several partitions, as several transactions add them.
async fn fill(client: &Client) -> Result<()> {
    client
        .batch_execute(
            "insert into tasks (task_id, namespace, tenant) select t, 'shop', w from unnest(array['a', 'b']) t, unnest(array['acme', 'other']) w",
        )
        .await?;
    let rows = "insert into task_logs (task_id, namespace, tenant, audit, \"timestamp\", level, source, message, metadata, topic_partition,
            kafka_offset, record_index)
          select (array['a', 'b'])[1 + n % 2], 'shop', (array['acme', 'other'])[1 + n / 2 % 2], n % 7 = 0,
            '2026-11-01T00:00:00Z'::timestamptz + n % 13 * interval '1 s',
            (array['DEBUG', 'INFO', 'WARNING', 'ERROR'])[1 + n / 3 % 4], (array['plugin', 'system', 'api'])[1 + n / 5 % 3], 'line ' || n,
            jsonb_build_object('step', n % 3), n % 3, n, 0 from generate_series($1::int, $1::int + 99) n";
    for round in 0..5 {
        client.execute(rows, &[&(round * 100)]).await?;
    }
    Ok(())
}

async fn one(store: &Store, scope: &Scope, task_id: &str) -> Result<Task> {
    match tasks::find(store, scope, task_id, None).await? {
        Named::One(task) => Ok(task),
        other => anyhow::bail!("{task_id}: {other:?}"),
    }
}

/// Every page, every total and every count, against the rows themselves.
async fn check(store: &Store, client: &Client) -> Result<()> {
    let rows = "select level, source, message, tenant, audit, (metadata ->> 'step') from task_logs where task_id = $1 order by \"timestamp\", id";
    let scopes = [
        ("all", ALL, vec!["acme", "other"], true),
        ("acme", Scope::of_tenants(["acme"]), vec!["acme"], true),
        ("no audit", Scope::of_tenants(["other"]).without_audit(), vec!["other"], false),
        ("since", ALL.since(1), vec!["acme", "other"], true),
    ];
    let texts = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<String>>();
    let asked = [
        Lines::default(),
        Lines { levels: vec!["INFO", "WARNING", "ERROR"], ..Lines::default() },
        Lines { levels: vec!["ERROR"], sources: texts(&["api"]), ..Lines::default() },
        Lines { sources: texts(&["api", "system"]), ..Lines::default() },
        Lines { sources: texts(&["nobody"]), ..Lines::default() },
        Lines { search: Some("NE 1".to_owned()), ..Lines::default() },
        Lines {
            metadata: vec![("step".to_owned(), texts(&["2"]))],
            levels: vec!["INFO"],
            ..Lines::default()
        },
    ];
    for (name, scope, tenants, audit) in scopes {
        for id in ["a", "b"] {
            let task = one(store, &scope, id).await?;
            let all = client.query(rows, &[&id]).await?;
            let seen =
                all.iter().filter(|row| tenants.contains(&row.get(3)) && (audit || !row.get::<_, bool>(4)));
            let seen: Vec<[&str; 4]> =
                seen.map(|row| [row.get(0), row.get(1), row.get(2), row.get(5)]).collect();
            for wanted in &asked {
                let is_wanted = |[level, source, message, step]: &&[&str; 4]| {
                    (wanted.levels.is_empty() || wanted.levels.contains(level))
                        && (wanted.sources.is_empty() || wanted.sources.iter().any(|own| own == source))
                        && wanted.search.as_ref().is_none_or(|text| message.to_uppercase().contains(text))
                        && wanted.metadata.iter().all(|(_, values)| values.iter().any(|value| value == step))
                };
                let expected: Vec<&str> = seen.iter().filter(is_wanted).map(|row| row[2]).collect();
                let count = expected.len() as u64;
                for (offset, limit) in [
                    (0, 1000),
                    (0, 7),
                    (5, 3),
                    (count.saturating_sub(4), 10),
                    (count / 2, 9),
                    (count, 5),
                    (count + 9, 5),
                ] {
                    let logged = task.lines(store, wanted, offset, limit).await?;
                    let found: Vec<&str> = logged.lines.iter().map(|line| line.message.as_str()).collect();
                    let page: Vec<&str> =
                        expected.iter().copied().skip(offset as usize).take(limit as usize).collect();
                    ensure!(
                        logged.total == count && found == page,
                        "{name} {id} {wanted:?} {offset} {limit}: {} of {count}, {found:?}",
                        logged.total
                    );
                }
            }
            let Stats { by_level, by_source } = task.stats(store).await?;
            for (place, counts) in [by_level, by_source].iter().enumerate() {
                let of = |name: &str| seen.iter().filter(|row| row[place] == name).count() as u64;
                ensure!(counts.iter().all(|(name, count)| of(name) == *count), "{name} {id}: {counts:?}");
                ensure!(
                    counts.iter().map(|(_, count)| count).sum::<u64>() == seen.len() as u64,
                    "{counts:?}"
                );
            }
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_total_is_what_the_rows_are_for_each_reader() -> Result<()> {
    for version in [15, 18] {
        let postgres = Postgres::start(version).await?;
        let store = support::store(&postgres, "counts").await?;
        let client = postgres.client_of("counts").await?;
        fill(&client).await?;
        check(&store, &client).await?;
        // One tenant's part goes.
        let other = Scope::of_tenants(["other"]);
        let whole = one(&store, &ALL, "a").await?;
        ensure!(matches!(tasks::delete(&store, &other, "a", None).await?, Named::One(_)));
        ensure!(tasks::find(&store, &other, "a", None).await? == Named::None);
        // Who found it before sees what is left.
        let left = whole.lines(&store, &Lines::default(), 0, 1000).await?;
        ensure!(left.total == 125 && left.lines.len() == 125, "{}", left.total);
        let counts = client
            .query_one(
                "select sum(lines)::bigint, count(distinct tenant) from task_counts where task_id = 'a'",
                &[],
            )
            .await?;
        ensure!((counts.get::<_, i64>(0), counts.get::<_, i64>(1)) == (125, 1));
    }
    Ok(())
}

/// What version 10 left is counted, and so is what its writers and gateways still do beside this version.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_version_before_left_and_still_writes_is_counted() -> Result<()> {
    for version in [15, 18] {
        let postgres = Postgres::start(version).await?;
        let store = support::store_of_version(&postgres, "counts", 10).await?;
        let client = postgres.client_of("counts").await?;
        fill(&client).await?;
        // Of a deletion that ended early: nobody sees these.
        client
            .batch_execute(
                "insert into task_tombstones (task_id, namespace, tenant) values ('gone', 'shop', 'acme');
                 insert into task_logs (task_id, namespace, tenant, \"timestamp\", level, message, topic_partition, kafka_offset, record_index)
                   values ('gone', 'shop', 'acme', now(), 'INFO', 'm', 0, 0, 0)",
            )
            .await?;
        let migrated = migrate::run(&store).await?;
        ensure!(migrated.applied.len() as i64 == migrate::newest() - 10, "{:?}", migrated.applied);
        ensure!(migrated.warnings.is_empty(), "{:?}", migrated.warnings);
        check(&store, &client).await?;
        // A writer of that version, under its own role.
        client
            .batch_execute(
                "set role cordwood_writer;
                 insert into task_logs (task_id, namespace, tenant, \"timestamp\", level, source, message, metadata, topic_partition, kafka_offset, record_index)
                   select 'a', 'shop', 'acme', '2026-11-02T00:00:00Z', 'INFO', 'api', 'late ' || n, '{\"step\": 1}', 0, 1000 + n, 0 from generate_series(1, 3) n;
                 reset role",
            )
            .await?;
        check(&store, &client).await?;
        // A gateway of that version deletes, and the id is used again much later.
        client
            .batch_execute("set role cordwood_gateway; delete from tasks where task_id = 'a'; reset role")
            .await?;
        let counted = "select count(*) from task_counts where task_id = 'a'";
        ensure!(client.query_one(counted, &[]).await?.get::<_, i64>(0) == 0);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tasks_end_by_age_and_begin_again() -> Result<()> {
    let postgres = Postgres::start(15).await?;
    let store = support::store(&postgres, "aged").await?;
    let client = postgres.client_of("aged").await?;
    let writer = Writer::start(&store)?;
    let (mut shop, mut bank) = (File::new("acme", "shop", 1), File::new("other", "shop", 2));
    writer.put(&mut shop, &[task_line(1, 0), task_line(1, 1), task_line(2, 0), task_line(3, 0)]).await?;
    writer.put(&mut bank, &[task_line(1, 7)]).await?;
    for name in ["old", "new"] {
        tasks::announce(&store, name, "shop", "acme").await?;
    }
    let mut session = DdlSession::open(&store, Loop::Drop).await?.context("the drop loop's session")?;
    ensure!(end_aged(&mut session, 30 * DAY_MS).await? == Ended::default(), "all are young");
    client
        .batch_execute(
            "update tasks set created = now() - interval '90 days' where task_id in ('task-1', 'task-2', 'old');
             update task_counts set stored = now() - interval '31 days' where task_id in ('task-1', 'task-2') and tenant = 'acme'",
        )
        .await?;
    // A line, and a task is young.
    writer.put(&mut shop, &[task_line(2, 1)]).await?;
    ensure!(end_aged(&mut session, 40 * DAY_MS).await? == Ended { tasks: 1, lines: 0, more: false }, "old");
    ensure!(
        end_aged(&mut session, 30 * DAY_MS).await? == Ended { tasks: 1, lines: 2, more: false },
        "task-1"
    );
    let acme = Scope::of_tenants(["acme"]);
    for gone in ["task-1", "old"] {
        ensure!(tasks::find(&store, &acme, gone, None).await? == Named::None, "{gone}");
    }
    let messages = async |scope: &Scope, id: &str| -> Result<Vec<String>> {
        let task = one(&store, scope, id).await?;
        let logged = task.lines(&store, &Lines::default(), 0, 10).await?;
        let stats = task.stats(&store).await?;
        ensure!(logged.total == logged.lines.len() as u64, "{}", logged.total);
        ensure!(stats.by_level.iter().map(|level| level.1).sum::<u64>() == logged.total, "{stats:?}");
        Ok(logged.lines.into_iter().map(|line| line.message).collect())
    };
    let line = |task: usize, seq: usize| format!("line {seq} of task {task}");
    ensure!(messages(&ALL, "task-1").await? == [line(1, 7)], "the other's is another");
    ensure!(messages(&acme, "task-2").await? == [line(2, 0), line(2, 1)]);
    ensure!(messages(&acme, "new").await?.is_empty());
    // It was no deletion: its records are found, and a line begins it again.
    ensure!(searched(&store).await?["shop task-1"] == 3);
    writer.put(&mut shop, &[task_line(1, 2)]).await?;
    ensure!(messages(&acme, "task-1").await? == [line(1, 2)]);
    ensure!(messages(&ALL, "task-1").await? == [line(1, 7), line(1, 2)]);
    let ledger = "select count(*) from ledger where step = 'end tasks' and subject = '1 tasks'";
    ensure!(client.query_one(ledger, &[]).await?.get::<_, i64>(0) == 2);

    // Ended, and not emptied yet: nobody sees the lines of before, also when it begins again.
    client
        .batch_execute(
            "begin; delete from tasks where task_id = 'task-1' and tenant = 'acme';
             insert into task_ends (task_id, namespace, tenant, upto) select 'task-1', 'shop', 'acme', max(id) from task_logs; commit",
        )
        .await?;
    ensure!(messages(&ALL, "task-1").await? == [line(1, 7)]);
    writer.put(&mut shop, &[task_line(1, 3)]).await?;
    writer.put(&mut bank, &[task_line(1, 8)]).await?;
    for _ in 0..2 {
        ensure!(messages(&acme, "task-1").await? == [line(1, 3)]);
        ensure!(messages(&ALL, "task-1").await? == [line(1, 7), line(1, 3), line(1, 8)]);
        end_aged(&mut session, 30 * DAY_MS).await?;
    }
    let left = "select (select count(*) from task_logs where message = 'line 2 of task 1'), (select count(*) from task_ends)";
    let left = client.query_one(left, &[]).await?;
    ensure!((left.get::<_, i64>(0), left.get::<_, i64>(1)) == (0, 0));
    writer.end().await
}
