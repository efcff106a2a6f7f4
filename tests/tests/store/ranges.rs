//! The watermarks of the version before, without ranges, are taken over; steps and losses as PostgreSQL keeps them.

use std::time::Duration;

use anyhow::{Result, ensure};
use cordwood_core::identity::{FileId, StreamKey};
use cordwood_core::origin::OriginId;
use cordwood_store::commit::{
    Commit, CommitError, FileKey, Others, PositionStep, StreamCounts, WatermarkKey, WatermarkStep,
};
use cordwood_store::lane::Lane;
use cordwood_store::watermarks::read_watermarks;
use cordwood_tests::env::{Postgres, wait_for};

use super::support;

const BEFORE: [&str; 4] = [
    include_str!("../../../store/migrations/V1__way_in.sql"),
    include_str!("../../../store/migrations/V2__retention.sql"),
    include_str!("../../../store/migrations/V3__postings.sql"),
    include_str!("../../../store/migrations/V4__announced_grace.sql"),
];
const RANGES: &str = include_str!("../../../store/migrations/V5__ranges.sql");

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn watermarks_of_before_become_ranges() -> Result<()> {
    let postgres = Postgres::start(15).await?;
    postgres.database("ranges").await?;
    let client = postgres.client_of("ranges").await?;
    for migration in BEFORE {
        client.batch_execute(migration).await?;
    }
    client
        .batch_execute(
            "insert into watermarks (stream, file, topic_partition, position_end, origin, bytes, first_seen) values
               ('usual', 1, 0, 500, 7, 480, '2026-01-01'),
               ('holed', 1, 0, 500, 7, 300, '2026-01-01'),
               ('moved', 1, 0, 500, 7, 500, '2026-01-01'), ('moved', 1, 3, 900, 7, 300, '2026-01-02');
             insert into losses (tenant, stream, file, topic_partition, position_from, bytes, exact, reason) values
               ('t', 'holed', 1, 0, 0, 100, false, 'a batch is missing on the way from the agent'),
               ('t', 'holed', 1, 0, 200, 50, false, 'a batch is missing on the way from the agent'),
               ('t', 'usual', 1, 0, 100, 50, true, 'removed by the node')",
        )
        .await?;
    client.batch_execute(RANGES).await?;
    let key = |stream: &str| FileKey { stream: StreamKey(stream.to_owned()), file: FileId(1) };
    let keys = ["usual", "holed", "moved", "unknown"].map(key);
    let found = read_watermarks(&client, &keys).await?;
    let brought = |stream: &str, topic_partition: u32| -> Vec<(u64, u64)> {
        found[&key(stream)].brought[&topic_partition].iter().collect()
    };
    assert_eq!(brought("usual", 0), [(0, 500)], "what the agent itself told as lost does not come");
    assert_eq!(brought("holed", 0), [(100, 200), (250, 500)], "what was missing may come");
    assert_eq!(brought("moved", 0), [(0, 500)]);
    assert_eq!(brought("moved", 3), [(600, 900)], "at least the bytes that it counted");
    assert_eq!(
        (found[&key("usual")].others_of(0), found[&key("usual")].others_of(1)),
        (Others::None, Others::Some)
    );
    assert_eq!(found[&key("moved")].others_of(0), Others::Some);
    assert!(!found.contains_key(&key("unknown")));
    // A writer of the version before goes on, until it is replaced.
    client
        .batch_execute(
            "insert into watermarks as w (stream, file, topic_partition, position_end, origin) values ('holed', 1, 0, 600, 7)
             on conflict (stream, file, topic_partition) do update set position_end = greatest(w.position_end, excluded.position_end)",
        )
        .await?;
    let found = read_watermarks(&client, &keys[1..2]).await?;
    assert_eq!(found[&keys[1]].held().iter().collect::<Vec<_>>(), [(100, 200), (250, 600)]);
    Ok(())
}

/// Two writers, of which each marks a row that the other moves: they wait for one another in turn, not in a circle.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writers_that_mark_each_others_rows_do_not_deadlock() -> Result<()> {
    let postgres = Postgres::start(15).await?;
    let store = support::store(&postgres, "crossing").await?;
    let client = postgres.client_of("crossing").await?;
    client
        .batch_execute(
            "insert into watermarks (stream, file, topic_partition, position_end, origin) values \
             ('a', 1, 0, 10, 7), ('b', 1, 1, 10, 7), ('x', 1, 1, 10, 7), ('y', 1, 0, 10, 7)",
        )
        .await?;
    let slots = "select mod(hashtext('x'), 32) <> mod(hashtext('y'), 32)";
    ensure!(client.query_one(slots, &[]).await?.get::<_, bool>(0), "one lock for both files");
    let step = |stream: &str, topic_partition: u32, others: Others| WatermarkStep {
        key: WatermarkKey { stream: StreamKey(stream.to_owned()), file: FileId(1), topic_partition },
        brought: [(10, 20)].into_iter().collect(),
        added: [(10, 20)].into_iter().collect(),
        missing: [].into_iter().collect(),
        fills: false,
        others,
        origin: OriginId(7),
        counts: StreamCounts::default(),
    };
    let commit = |topic_partition, watermarks| Commit {
        positions: vec![PositionStep { topic_partition, from: None, to: 1, last_hash: 1 }],
        watermarks,
        ..Commit::default()
    };
    let of_0 = vec![step("a", 0, Others::None), step("x", 0, Others::Some), step("y", 0, Others::None)];
    let of_1 = vec![step("b", 1, Others::None), step("x", 1, Others::None), step("y", 1, Others::Some)];
    // Both are held up at the first row that they move; what they mark they have marked by then.
    let other = postgres.client_of("crossing").await?;
    other.batch_execute("begin; update watermarks set lines = 0 where stream in ('a', 'b')").await?;
    let mut writers = Vec::new();
    for commit in [commit(0, of_0), commit(1, of_1)] {
        let mut lane = Lane::claim(&store).await?;
        writers.push(tokio::spawn(async move { lane.commit("t", &commit).await }));
    }
    wait_for("both writers to wait", Duration::from_secs(20), async || {
        let waiting =
            "select count(*) from pg_stat_activity where datname = 'crossing' and wait_event_type = 'Lock'";
        ensure!(client.query_one(waiting, &[]).await?.get::<_, i64>(0) == 2);
        Ok(())
    })
    .await?;
    other.batch_execute("commit").await?;
    let mut committed = 0;
    for writer in writers {
        match writer.await? {
            Ok(_) => committed += 1,
            // Its row was marked meanwhile: it looks at what the other stored, and tries again.
            Err(CommitError::Overlap { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    ensure!(committed >= 1, "none of the two was committed");
    Ok(())
}
