//! What was counted beside the records goes when no record of its time is left, and not before.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use cordwood_store::ddl::{DdlSession, Loop};
use cordwood_store::prune::prune;
use cordwood_tests::env::{Postgres, wait_for};

use super::support;

/// Days of age of what is left in each table.
const LEFT: &str = "select t || ' ' || string_agg(distinct round(extract(epoch from now() - at) / 86400)::text, ' ') from ( \
    select 'rollup' t, minute at from rollup union all select 'losses', seen from losses \
    union all select 'dead_letters', seen from dead_letters \
    union all select 'watermarks', updated from watermarks) a group by t order by t";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn counts_go_with_the_last_record_of_their_time() -> Result<()> {
    let postgres = Postgres::start(15).await?;
    let store = support::store(&postgres, "prune").await?;
    let client = postgres.client_of("prune").await?;
    let mut session = DdlSession::open(&store, Loop::Drop).await?.context("the drop loop's session")?;
    let left = async || -> Result<Vec<String>> {
        Ok(client.query(LEFT, &[]).await?.iter().map(|row| row.get(0)).collect())
    };
    // More than one statement takes.
    client
        .batch_execute(
            "insert into rollup select now() - interval '60 days' + n * interval '1 millisecond', 't', 's', 'x', 2, 1, 1
               from generate_series(1, 12000) n;
             insert into rollup select now() - n * interval '1 day', 't', 's', 'x', 2, 1, 1 from unnest(array[33, 30]) n;
             insert into losses select now() - n * interval '1 day', 't', 's', n, 0, 0, 1, true, 'gone'
               from unnest(array[60, 33, 30]) n;
             insert into dead_letters (topic_partition, kafka_offset, seen, reason, payload) select 0, n, now() - n * interval '1 day', 'no batch', '' from unnest(array[60, 33, 30]) n;
             insert into watermarks (stream, file, topic_partition, position_end, origin, updated)
               values ('s', 1, 0, 10, 1, now() - interval '60 days')",
        )
        .await?;
    // Nobody has said yet what is kept how long.
    ensure!(prune(&mut session).await? == 0);
    // ERROR is kept for 30 days and one of grace. A partition that something holds is older.
    support::classes(&client).await?;
    support::leaves(&client, 2, 2).await?;
    client
        .batch_execute(
            "insert into leaves (class, time_from, time_to) values (1, now() - interval '35 days', now() - interval '34 days')",
        )
        .await?;
    ensure!(prune(&mut session).await? == 12_002);
    let all = ["dead_letters 30 33", "losses 30 33", "rollup 30 33", "watermarks 60"];
    ensure!(left().await? == all, "{:?}", left().await?);
    client.batch_execute("delete from leaves where time_to < now() - interval '1 day'").await?;
    ensure!(prune(&mut session).await? == 3);
    let all = ["dead_letters 30", "losses 30", "rollup 30", "watermarks 60"];
    ensure!(left().await? == all, "{:?}", left().await?);
    ensure!(prune(&mut session).await? == 0);
    Ok(())
}

/// Watermarks of a container's file go when no agent has it any more, and no message of it can be unread; all others stay.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn watermarks_go_when_their_file_cannot_come_again() -> Result<()> {
    let postgres = Postgres::start(15).await?;
    let store = support::store(&postgres, "dead_streams").await?;
    let client = postgres.client_of("dead_streams").await?;
    let mut session = DdlSession::open(&store, Loop::Drop).await?.context("the drop loop's session")?;
    support::classes(&client).await?;
    // Topic partition 0 is read on; nothing was read of 1 since its streams ended. Of 2 nobody knows.
    client
        .batch_execute(
            "insert into positions (topic_partition, topic, next_offset, updated) values
               (0, 't', 10, now()), (1, 't', 10, now() - interval '490 days');
             create function put(s text, f bigint, p int, days int) returns void language sql as $$
               insert into watermarks (stream, file, topic_partition, position_end, origin, first_seen, updated)
               values (s, f, p, 10, 1, now() - days * interval '1 day', now() - days * interval '1 day') $$;
             -- A pod that is gone, in two outputs; the last also came by another topic partition.
             select put('gone/app/0/stdout', 1, 0, 500), put('gone/app/0/stderr', 1, 0, 450), put('gone/app/0/stdout', 2, 0, 450);
             -- The same with what may be unread.
             select put('unread/app/0/stdout', 1, 1, 500);
             select put('unknown/app/0/stdout', 1, 2, 500);
             select put('moved/app/0/stdout', 1, 0, 500), put('moved/app/0/stdout', 1, 1, 480);
             -- Silent, but for a container of it; silent for a year.
             select put('silent/app/0/stdout', 1, 0, 500), put('silent/side/0/stdout', 1, 0, 20);
             select put('year/app/0/stdout', 1, 0, 365);
             -- Runs of one container: those before the last two are off the node. One moved of late.
             select put('runs/app/' || n || '/stdout', 1, 0, 110 - n) from generate_series(0, 3) n;
             select put('runs/other/0/stdout', 1, 0, 110);
             select put('late/app/' || n || '/stdout', 1, 0, 59) from generate_series(0, 3) n;
             -- Files of one run: of the oldest two there are 32 newer ones.
             select put('files/app/0/stdout', n, 0, 200 - n) from generate_series(1, 34) n;
             -- Plain files, of whichever age.
             select put('file:node@0000000000000001/var/log/x/0/stdout', 1, 0, 900), put('file:/a/0/stdout', 1, 0, 900), put('x', 1, 0, 900)",
        )
        .await?;
    let left = async || -> Result<Vec<String>> {
        let sql =
            "select stream || ' ' || count(*) from watermarks group by stream order by stream collate \"C\"";
        Ok(client.query(sql, &[]).await?.iter().map(|row| row.get(0)).collect())
    };
    let stays = [
        "file:/a/0/stdout 1",
        "file:node@0000000000000001/var/log/x/0/stdout 1",
        "files/app/0/stdout 32",
        "late/app/0/stdout 1",
        "late/app/1/stdout 1",
        "late/app/2/stdout 1",
        "late/app/3/stdout 1",
        "moved/app/0/stdout 2",
        "runs/app/2/stdout 1",
        "runs/app/3/stdout 1",
        "runs/other/0/stdout 1",
        "silent/app/0/stdout 1",
        "silent/side/0/stdout 1",
        "unknown/app/0/stdout 1",
        "unread/app/0/stdout 1",
        "x 1",
        "year/app/0/stdout 1",
    ];
    // A class keeps records for longer than any of it.
    client
        .batch_execute(
            "update classes set retention_us = retention_us + 86400000000::bigint * 1000 where id = 1",
        )
        .await?;
    ensure!(prune(&mut session).await? == 0, "{:?}", left().await?);
    client
        .batch_execute(
            "update classes set retention_us = retention_us - 86400000000::bigint * 1000 where id = 1",
        )
        .await?;
    let gone = prune(&mut session).await?;
    ensure!(gone == 7 && left().await? == stays, "{gone}: {:?}", left().await?);
    ensure!(prune(&mut session).await? == 0);
    // Its topic partition is read on.
    client.batch_execute("update positions set updated = now() where topic_partition = 1").await?;
    ensure!(prune(&mut session).await? == 3, "{:?}", left().await?);
    Ok(())
}

/// A writer that holds the first of a file's rows and wants the second does not meet who deletes them in a circle.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dead_watermarks_are_taken_in_the_order_of_the_writers() -> Result<()> {
    let postgres = Postgres::start(15).await?;
    let store = support::store(&postgres, "dead_order").await?;
    let client = postgres.client_of("dead_order").await?;
    let mut session = DdlSession::open(&store, Loop::Drop).await?.context("the drop loop's session")?;
    support::classes(&client).await?;
    // They lie in the table in the other order.
    client
        .batch_execute(
            "insert into positions (topic_partition, topic, next_offset, updated) values (0, 't', 10, now());
             insert into watermarks (stream, file, topic_partition, position_end, origin, first_seen, updated)
               select s, 1, 0, 10, 1, now() - d * interval '1 day', now() - d * interval '1 day'
               from (values ('b/app/0/stdout', 500), ('a/app/0/stdout', 450)) dead(s, d);",
        )
        .await?;
    let writer = postgres.client_of("dead_order").await?;
    let take = "update watermarks set lines = lines + 1, updated = now() where stream = ";
    writer.batch_execute(&format!("begin; {take} 'a/app/0/stdout'")).await?;
    let pruning = tokio::spawn(async move { prune(&mut session).await });
    wait_for("who deletes to wait", Duration::from_secs(20), async || {
        let waiting =
            "select count(*) from pg_stat_activity where datname = 'dead_order' and wait_event_type = 'Lock'";
        ensure!(client.query_one(waiting, &[]).await?.get::<_, i64>(0) == 1);
        Ok(())
    })
    .await?;
    // Who waits for the first row does not hold the second.
    client.batch_execute("select from watermarks where stream = 'b/app/0/stdout' for update nowait").await?;
    writer.batch_execute(&format!("{take} 'b/app/0/stdout'; commit")).await?;
    // (On a slow machine its wait for a lock has ended first, and it is called again.)
    if let Ok(gone) = pruning.await? {
        ensure!(gone == 0, "{gone} rows went, and both files go on");
    }
    let left: i64 = client.query_one("select count(*) from watermarks where lines = 1", &[]).await?.get(0);
    ensure!(left == 2, "{left}");
    Ok(())
}
