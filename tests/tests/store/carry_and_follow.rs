//! Carried records wait where they are, and obsolete blocks where they cannot be emptied; who follows is told of what is gone, and of nothing else.

use std::collections::HashMap;

use anyhow::{Context, Result, ensure};
use cordwood_core::filter;
use cordwood_core::limits::FOLLOW_LOOK_BYTES_MAX;
use cordwood_store::follow::Follow;
use cordwood_store::lane::Lane;
use cordwood_store::seal::{Round, SealSession};
use cordwood_tests::env::Postgres;
use cordwood_writer::RecordPlacer;

use super::support::{self, Lines, check_exactly_once};
use super::{ALL, Running, seal_once, start_writer, step};

async fn put(running: &Running, lines: &mut Lines, count: u64) -> Result<()> {
    running.sender.send(lines.message(count)).map_err(|_| anyhow::anyhow!("the queue is full"))?.await?;
    Ok(())
}

/// One round of a session that goes on, as the sealer's does.
async fn round(sealing: &mut SealSession) -> Result<Round> {
    round_at(sealing, support::now_us()).await
}

/// The same on a machine whose clock says this.
async fn round_at(sealing: &mut SealSession, now_us: i64) -> Result<Round> {
    sealing.switch_ring().await?;
    let done = sealing.round(&mut RecordPlacer::new(now_us)).await?;
    while !sealing.is_past(done.xid).await? {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    sealing.truncate().await?;
    Ok(done)
}

const CARRIED: &str = "select coalesce(array_agg(f.id order by f.id), '{}') from fresh f join seals z using (lane) \
                       where f.lane = 0 and f.seq > z.upto";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn carried_records_wait_where_they_are() -> Result<()> {
    let postgres = Postgres::start(15).await?;
    let store = support::store(&postgres, "carry").await?;
    let client = postgres.client_of("carry").await?;
    let running = start_writer(&store)?;
    let mut lines = Lines::new(1);
    let mut sealing = SealSession::claim(&store).await?.context("somebody seals")?;
    let carried = async || anyhow::Ok(client.query_one(CARRIED, &[]).await?.get::<_, Vec<i64>>(0));
    put(&running, &mut lines, 100).await?;
    ensure!(round(&mut sealing).await?.carried == 100);
    let first = carried().await?;
    // Nothing changed: they are not written again, and are still counted.
    ensure!(round(&mut sealing).await?.carried == 100);
    ensure!(carried().await? == first, "rewritten without a reason");
    for more in 2..=12 {
        put(&running, &mut lines, 100).await?;
        let done = round(&mut sealing).await?;
        ensure!(done.carried == more * 100, "round {more}: {done:?}");
        check_exactly_once(&support::stored(&client).await?, std::slice::from_ref(&lines))?;
    }
    // A leaf and a route for them: all of it is sealed, by a machine whose clock is years ahead, and every ring but the current one is free again.
    support::classes(&client).await?;
    support::leaves(&client, 2, 2).await?;
    let years_ahead = support::now_us() + 20 * 366 * 86_400_000_000;
    let done = round_at(&mut sealing, years_ahead).await?;
    ensure!((done.records, done.carried, done.expired) == (1200, 0, 0), "{done:?}");
    round(&mut sealing).await?;
    let left: i64 = client.query_one("select count(*) from fresh", &[]).await?.get(0);
    ensure!(left == 0 && carried().await?.is_empty(), "{left} obsolete blocks");
    check_exactly_once(&support::stored(&client).await?, &[lines])?;
    running.stop.cancel();
    running.task.await?
}

/// Somebody's lock keeps all rings from being emptied, for longer than there are rings: sealing goes on, every record is there once, and when the
/// lock is gone so is what is obsolete.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rings_that_cannot_be_emptied_keep_nobody_waiting() -> Result<()> {
    for version in [15, 18] {
        let postgres = Postgres::start(version).await?;
        let store = support::store(&postgres, "held").await?;
        let client = postgres.client_of("held").await?;
        support::classes(&client).await?;
        support::leaves(&client, 2, 2).await?;
        let running = start_writer(&store)?;
        let mut lines = Lines::new(1);
        let mut sealing = SealSession::claim(&store).await?.context("somebody seals")?;
        let holder = postgres.client_of("held").await?;
        let lock = "begin; lock table ring_0, ring_1, ring_2, ring_3 in access share mode";
        holder.batch_execute(lock).await?;
        for number in 1..=6 {
            put(&running, &mut lines, 100).await?;
            sealing.switch_ring().await?;
            let done = sealing.round(&mut RecordPlacer::new(support::now_us())).await?;
            ensure!((done.records, done.carried) == (100, 0), "round {number}: {done:?}");
            ensure!(sealing.truncate().await? == 0, "a ring was emptied under a lock");
            check_exactly_once(&support::stored(&client).await?, std::slice::from_ref(&lines))?;
        }
        let obsolete = "select count(*) from fresh";
        let left: i64 = client.query_one(obsolete, &[]).await?.get(0);
        ensure!(left >= 6, "only {left} obsolete blocks");
        holder.batch_execute("commit").await?;
        for _ in 0..2 {
            put(&running, &mut lines, 100).await?;
            ensure!(round(&mut sealing).await?.records == 100);
        }
        round(&mut sealing).await?;
        let left: i64 = client.query_one(obsolete, &[]).await?.get(0);
        ensure!(left == 0, "{left} obsolete blocks");
        check_exactly_once(&support::stored(&client).await?, &[lines])?;
        running.stop.cancel();
        running.task.await??;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_follows_is_told_of_gaps_and_outlives_damage() -> Result<()> {
    let postgres = Postgres::start(15).await?;
    let store = support::store(&postgres, "follow").await?;
    let client = postgres.client_of("follow").await?;
    support::classes(&client).await?;
    support::leaves(&client, 2, 2).await?;
    let filter = filter::parse("")?;
    let running = start_writer(&store)?;
    let mut lines = Lines::new(1);
    put(&running, &mut lines, 1).await?;
    let mut follow = Follow::from_now(&store).await?;

    // Some of what one look covers is gone, some is there.
    for _ in 0..5 {
        put(&running, &mut lines, 10).await?;
    }
    seal_once(&store).await?;
    put(&running, &mut lines, 10).await?;
    let news = follow.next(&ALL, &filter).await?;
    ensure!(news.gap && news.records.len() == 10, "gap {}, {} records", news.gap, news.records.len());
    let news = follow.next(&ALL, &filter).await?;
    ensure!(!news.gap && news.records.is_empty(), "nothing new");

    // A damaged block hides its own records.
    for _ in 0..3 {
        put(&running, &mut lines, 10).await?;
    }
    let damage = "update ring_%s set payload = '\\x00' where (lane, seq) in \
                  (select lane, min(seq) from fresh join seals using (lane) where seq > upto + 1 group by lane)";
    for ring in ["0", "1", "2", "3"] {
        client.batch_execute(&damage.replace("%s", ring)).await?;
    }
    let news = follow.next(&ALL, &filter).await?;
    ensure!(!news.gap && news.records.len() == 20, "gap {}, {} records", news.gap, news.records.len());
    running.stop.cancel();
    running.task.await??;

    // Transactions without blocks leave nothing behind that could be missed.
    let mut lane = Lane::claim(&store).await?;
    let mut follow = Follow::from_now(&store).await?;
    let next = lane.read_positions("standalone").await?[&0].next_offset;
    for offset in next..next + 5 {
        lane.commit("standalone", &step(Some(offset), offset + 1)).await?;
    }
    seal_once(&store).await?;
    ensure!(!follow.next(&ALL, &filter).await?.gap, "a gap where nothing was");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_follows_and_is_behind_takes_so_many_bytes_at_a_time() -> Result<()> {
    let postgres = Postgres::start(15).await?;
    let store = support::store(&postgres, "follow_bytes").await?;
    let client = postgres.client_of("follow_bytes").await?;
    let filter = filter::parse("")?;
    let running = start_writer(&store)?;
    let mut follow = Follow::from_now(&store).await?;
    let mut lines = Lines::new(1);
    lines.padding = 1 << 20;
    for _ in 0..8 {
        put(&running, &mut lines, 10).await?;
    }
    running.stop.cancel();
    running.task.await??;
    // A second lane with as much, stored at the same times; and one transaction more.
    for ring in 0..4 {
        client
            .batch_execute(&format!(
                "insert into ring_{ring} select 2, seq, id, class, tenant, count, time_from, time_to, level_mask, raw_bytes, bloom, payload
                   from ring_{ring} where lane = 1"
            ))
            .await?;
    }
    client
        .batch_execute(
            "insert into seals (lane, upto) values (2, 0);
             insert into batches select 2, seq, committed_at, blocks, records, raw_bytes from batches where lane = 1;
             insert into batches select 2, max(seq) + 1, now(), 0, 0, 0 from batches where lane = 1",
        )
        .await?;
    let (mut seen, mut looks) = (HashMap::new(), 0);
    loop {
        let news = follow.next(&ALL, &filter).await?;
        let bytes: usize = news.records.iter().map(|record| record.body.len()).sum();
        ensure!(bytes as i64 <= FOLLOW_LOOK_BYTES_MAX + (11 << 20), "{bytes} bytes in one look");
        ensure!(!news.gap, "a gap");
        ensure!(!news.more || !news.records.is_empty(), "no step ahead");
        looks += 1;
        news.records.iter().for_each(|record| *seen.entry(record.id).or_insert(0) += 1);
        if looks == 2 {
            // Neither lane waits for the other.
            ensure!(seen.values().filter(|times| **times == 2).count() >= 20, "{seen:?}");
        }
        if !news.more {
            break;
        }
    }
    ensure!(seen.len() == 80 && seen.values().all(|times| *times == 2), "{seen:?}");
    ensure!(looks >= 4, "{looks} looks");
    ensure!(follow.next(&ALL, &filter).await?.records.is_empty(), "nothing new");
    Ok(())
}
