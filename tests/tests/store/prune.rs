//! What was counted beside the records goes when no record of its time is left, and not before.

use anyhow::{Context, Result, ensure};
use cordwood_store::ddl::{DdlSession, Loop};
use cordwood_store::prune::prune;
use cordwood_tests::env::Postgres;

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
