//! The watermarks of the version before, without ranges, are taken over; steps and losses as PostgreSQL keeps them.

use anyhow::Result;
use cordwood_core::identity::{FileId, StreamKey};
use cordwood_store::commit::{FileKey, Others};
use cordwood_store::watermarks::read_watermarks;
use cordwood_tests::env::Postgres;

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
