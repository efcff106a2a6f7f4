//! Every stored record, read straight from the blocks.

use std::collections::HashMap;

use anyhow::{Context, Result};
use cordwood_core::block::Block;
use cordwood_core::level::Level;
use cordwood_core::record::Flags;
use tokio_postgres::Client;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    pub tenant: String,
    pub pod: String,
    pub level: Level,
    pub flags: Flags,
    pub body: Vec<u8>,
    /// Topic partition, Kafka offset, index: the order of a stream.
    pub place: (u32, u64, u32),
}

/// All records, in the order of their ids, so in each stream's order.
pub async fn records(client: &Client) -> Result<Vec<Stored>> {
    let mut origins = HashMap::new();
    for row in client.query("select id, tenant, pod from origins", &[]).await.context("read origins")? {
        origins.insert(row.get::<_, i64>(0), (row.get::<_, String>(1), row.get::<_, String>(2)));
    }
    let statement = "select f.payload from fresh f join seals s on s.lane = f.lane where f.seq > s.upto \
                     union all select payload from blocks";
    let mut records = Vec::new();
    for row in client.query(statement, &[]).await.context("read blocks")? {
        let block = Block::open(row.get(0)).context("open a stored block")?;
        for index in 0..block.len() {
            let record = block.record(index).context("read a stored record")?;
            let (tenant, pod) = origins
                .get(&record.origin.0.cast_signed())
                .with_context(|| format!("record {} has no origin", record.id))?;
            records.push(Stored {
                tenant: tenant.clone(),
                pod: pod.clone(),
                level: record.level,
                flags: record.flags,
                body: record.body.to_vec(),
                place: (record.id.topic_partition, record.id.kafka_offset, record.id.index),
            });
        }
    }
    records.sort_by_key(|record| record.place);
    Ok(records)
}
