//! Reads everything that is stored, in one snapshot: sealed blocks, and fresh ones above their lane's seal. Written apart
//! from the store's own reader, so that a mistake there does not hide itself here.

use std::collections::HashMap;

use anyhow::{Context, Result};
use cordwood_core::block::Block;
use cordwood_core::origin::{Origin, OriginId};
use futures::TryStreamExt;
use tokio_postgres::Client;

use super::{Counters, Ledger, Reconciler, Report, WatermarkSum};

/// Everything of `database_url` against the ledger.
pub async fn reconcile(database_url: &str, ledger: Ledger) -> Result<Report> {
    let (mut client, connection) = tokio_postgres::connect(database_url, tokio_postgres::NoTls)
        .await
        .context("connect to read what is stored")?;
    tokio::spawn(connection);
    read(&mut client, ledger).await
}

pub async fn read(client: &mut Client, ledger: Ledger) -> Result<Report> {
    let transaction = client
        .build_transaction()
        .isolation_level(tokio_postgres::IsolationLevel::RepeatableRead)
        .read_only(true)
        .start()
        .await
        .context("begin to read what is stored")?;
    let mut origins = HashMap::new();
    let columns = "id, tenant, tenant_id, namespace, pod, pod_uid, container, node, service, workload, environment, \
                   version, region, plugin, path";
    for row in
        transaction.query(&format!("select {columns} from origins"), &[]).await.context("read origins")?
    {
        let origin = Origin {
            tenant: row.get(1),
            tenant_id: row.get(2),
            namespace: row.get(3),
            pod: row.get(4),
            pod_uid: row.get(5),
            container: row.get(6),
            node: row.get(7),
            service: row.get(8),
            workload: row.get(9),
            environment: row.get(10),
            version: row.get(11),
            region: row.get(12),
            plugin: row.get(13),
            path: row.get(14),
        };
        origins.insert(OriginId(row.get::<_, i64>(0).cast_unsigned()), origin);
    }
    let mut counters = counters(&transaction).await?;
    let mut reconciler = Reconciler::new(ledger, origins);
    for (fresh, statement) in [
        (true, "select f.count, f.payload from fresh f join seals s on s.lane = f.lane where f.seq > s.upto"),
        (false, "select count, payload from blocks"),
    ] {
        let rows =
            transaction.query_raw(statement, std::iter::empty::<i32>()).await.context("read blocks")?;
        let mut rows = std::pin::pin!(rows);
        while let Some(row) = rows.try_next().await.context("read blocks")? {
            let (count, payload): (i32, &[u8]) = (row.get(0), row.get(1));
            let block = Block::open(payload).context("open a stored block")?;
            anyhow::ensure!(
                block.len() as i64 == i64::from(count),
                "a block of {} records says {count}",
                block.len()
            );
            for record in 0..block.len() {
                reconciler.record(&block.record(record).context("read a stored record")?);
            }
            *(if fresh { &mut counters.fresh_blocks } else { &mut counters.sealed_blocks }) += 1;
        }
    }
    Ok(reconciler.finish(&counters))
}

async fn counters(transaction: &tokio_postgres::Transaction<'_>) -> Result<Counters> {
    let mut counters = Counters::default();
    let rows = transaction
        .query(
            "select stream, lines, records, gated, limited, rejected, duplicates, lost_bytes from watermarks",
            &[],
        )
        .await
        .context("read watermarks")?;
    for row in rows {
        let number = |column: usize| row.get::<_, i64>(column).cast_unsigned();
        let sum: &mut WatermarkSum = counters.watermarks.entry(row.get(0)).or_default();
        sum.files += 1;
        sum.lines += number(1);
        sum.records += number(2);
        sum.gated += number(3);
        sum.limited += number(4);
        sum.rejected += number(5);
        sum.duplicates += number(6);
        sum.lost_bytes += number(7);
    }
    for row in transaction
        .query("select topic_partition, next_offset from positions", &[])
        .await
        .context("read positions")?
    {
        counters.positions.push((row.get::<_, i32>(0).cast_unsigned(), row.get::<_, i64>(1).cast_unsigned()));
    }
    for row in transaction.query("select stream, bytes from losses", &[]).await.context("read losses")? {
        counters.losses.push((row.get(0), row.get::<_, i64>(1).cast_unsigned()));
    }
    let row =
        transaction.query_one("select count(*) from dead_letters", &[]).await.context("read dead letters")?;
    counters.dead_letters = row.get::<_, i64>(0).cast_unsigned();
    let row = transaction
        .query_one("select coalesce(sum(expired), 0)::bigint from sealed_counts", &[])
        .await
        .context("read sealed_counts")?;
    counters.expired = row.get::<_, i64>(0).cast_unsigned();
    Ok(counters)
}
