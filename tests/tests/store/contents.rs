//! What is noted of each table partition is what lies in it: after sealing, after an older version's sealer, after a drop.

use anyhow::{Context, Result, ensure};
use cordwood_core::retention::ClassId;
use cordwood_core::retention::step::{LeafRef, Planned, Step};
use cordwood_store::contents;
use cordwood_store::ddl::{self, DdlSession, Loop};
use cordwood_store::scope::Scope;
use cordwood_tests::env::Postgres;
use tokio_postgres::Client;

use super::support::{self, Lines};
use super::{ALL, seal_once, start_writer};

/// What is noted and is not so, or is so and is not noted.
async fn differences(client: &Client) -> Result<i64> {
    let sql = "with held as (
                 select b.tenant, b.class, l.time_from, count(*) as blocks, min(b.time_from) as oldest,
                   (extract(epoch from max(b.time_to - b.time_from)) * 1000000)::bigint as width from blocks b
                 join leaves l on l.class = b.class and b.time_to >= l.time_from and b.time_to < l.time_to
                 group by 1, 2, 3),
               leaf as (select class, time_from, sum(blocks)::bigint as blocks, min(oldest) as oldest, max(width) as width
                        from held group by 1, 2)
               select (select count(*) from (select tenant, class, time_from from held) h
                         full join leaf_tenants t using (tenant, class, time_from)
                         where h.* is null or t.* is null)
                    + (select count(*) from leaf l full join sealed_leaves s using (class, time_from)
                         where l.oldest is distinct from s.oldest or s.bytes < 8192 or s.blocks < 1
                           or (s.width_blocks is not null and (l.blocks, l.width) is distinct from (s.width_blocks, s.width_us)))";
    Ok(client.query_one(sql, &[]).await?.get(0))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_noted_of_a_partition_is_what_it_holds() -> Result<()> {
    let postgres = Postgres::start(15).await?;
    let store = support::store(&postgres, "contents").await?;
    let client = postgres.client_of("contents").await?;
    support::classes(&client).await?;
    support::leaves(&client, 2, 2).await?;
    let running = start_writer(&store)?;
    let mut streams: Vec<Lines> = (0..3).map(Lines::new).collect();
    streams[2].age_us = support::HOUR_US;
    for _ in 0..2 {
        for lines in &mut streams {
            running.sender.send(lines.message(50)).ok().context("the queue is closed")?.await?;
        }
        let round = seal_once(&store).await?;
        ensure!(round.records > 0 && round.carried == 0, "{round:?}");
        ensure!(differences(&client).await? == 0);
        let known = "select bool_and(width_blocks = blocks), max(width_us) from sealed_leaves";
        let known = client.query_one(known, &[]).await?;
        ensure!(known.get::<_, bool>(0) && known.get::<_, i64>(1) > 0, "no widths are noted");
    }
    running.stop.cancel();
    running.task.await??;
    let all = contents::classes_of(&client, &ALL).await?.context("not known")?;
    ensure!(!all.is_empty());
    let nobody = Scope::of_tenants(["nobody".to_owned()]);
    ensure!(contents::classes_of(&client, &nobody).await? == Some(Vec::new()));

    // A sealer of an older version notes nothing: what is noted is not all, and says so.
    client
        .batch_execute(
            "delete from leaf_tenants; delete from sealed_leaves; update ring_ctl set round = round + 1",
        )
        .await?;
    ensure!(contents::classes_of(&client, &nobody).await?.is_none());
    seal_once(&store).await?;
    ensure!(differences(&client).await? == 0);
    ensure!(contents::classes_of(&client, &ALL).await? == Some(all));
    let unknown = "select bool_and(width_blocks is distinct from blocks) from sealed_leaves";
    ensure!(
        client.query_one(unknown, &[]).await?.get::<_, bool>(0),
        "the width of blocks that nobody noted is known"
    );

    // The rows go with the table.
    let row = client
        .query_one(
            "select l.class, l.time_from, l.time_to from sealed_leaves s join leaves l using (class, time_from) \
             order by time_from limit 1",
            &[],
        )
        .await?;
    let time = |at: usize| row.get::<_, jiff::Timestamp>(at).as_microsecond();
    let leaf = LeafRef { class: ClassId(row.get(0)), from_us: time(1), to_us: time(2) };
    client.execute("update classes set retention_us = 1 where id = $1", &[&leaf.class.0]).await?;
    let mut session = DdlSession::open(&store, Loop::Drop).await?.context("somebody drops")?;
    for step in [Step::Detach(leaf), Step::Drop(leaf)] {
        let planned = Planned::new(step, "", "");
        ddl::apply(&mut session, &planned, "test").await?;
    }
    let left = "select count(*) from leaf_tenants full join sealed_leaves using (class, time_from)
                where class = $1 and time_from = $2";
    let left: i64 = client.query_one(left, &[&leaf.class.0, &row.get::<_, jiff::Timestamp>(1)]).await?.get(0);
    ensure!(left == 0, "{left} rows of a table that is gone");
    ensure!(differences(&client).await? == 0);
    Ok(())
}
