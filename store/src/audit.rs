//! Counters per stream and file: what was read, and what became of it. Read from the watermarks, which rise in the same
//! transaction as the blocks, and from the losses beside them.

use cordwood_core::identity::{FileId, StreamKey};

use crate::commit::StreamCounts;
use crate::connect::Store;
use crate::error::StoreError;
use crate::scope::{Parts, Scope};

/// One file of one stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamAudit {
    pub stream: StreamKey,
    pub file: FileId,
    pub topic_partition: u32,
    /// Bytes of the file up to which it is accounted for.
    pub position_end: u64,
    pub counts: StreamCounts,
    /// From the stream's origin.
    pub tenant: String,
    pub namespace: String,
    pub pod: String,
    pub container: String,
    pub service: String,
    pub path: String,
    /// Microseconds since the epoch: when it was last heard of.
    pub updated_us: i64,
}

/// What no stream can be asked about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WholeAudit {
    pub dead_letters: u64,
    /// Ranges of lost bytes, of all streams.
    pub losses: u64,
    /// Records of other producers than agents: they belong to no stream.
    pub foreign_records: u64,
    pub foreign_bytes: u64,
    /// Messages that Kafka did not give.
    pub messages_missing: u64,
    /// Records that were past their retention when they were sealed.
    pub expired_records: u64,
    /// Records that wait for their table partition.
    pub carried_records: u64,
}

impl WholeAudit {
    /// Nothing has come in at all.
    pub fn is_empty(&self) -> bool {
        *self == WholeAudit::default()
    }
}

/// The streams of these tenants and namespaces, by name.
pub async fn streams(store: &Store, scope: &Scope) -> Result<Vec<StreamAudit>, StoreError> {
    let client = store.pooled().await?;
    let sql = format!(
        "select w.stream, w.file, w.topic_partition, w.position_end, w.lines, w.bytes, w.records, w.gated, w.limited,
                      w.rejected, w.duplicates, w.lost_bytes, (extract(epoch from w.updated) * 1000000)::bigint as updated_us,
                      coalesce(o.tenant, '') as tenant, coalesce(o.namespace, '') as namespace, coalesce(o.pod, '') as pod,
                      coalesce(o.container, '') as container, coalesce(o.service, '') as service, coalesce(o.path, '') as path
               from watermarks w left join origins o on o.id = w.origin
               where {}
               order by w.stream, w.first_seen, w.file, w.topic_partition",
        Parts::condition("coalesce(o.tenant, '')", "coalesce(o.namespace, '')", ["$1", "$2"])
    );
    let parts = Parts::of(scope);
    let rows = client
        .query(&sql, &[&parts.tenants, &parts.namespaces])
        .await
        .map_err(StoreError::sql("read", "the watermarks"))?;
    let number = |row: &tokio_postgres::Row, column: &str| row.get::<_, i64>(column).max(0).unsigned_abs();
    let audit = |row: &tokio_postgres::Row| StreamAudit {
        stream: StreamKey(row.get("stream")),
        file: FileId(row.get::<_, i64>("file").cast_unsigned()),
        topic_partition: row.get::<_, i32>("topic_partition").cast_unsigned(),
        position_end: number(row, "position_end"),
        counts: StreamCounts {
            lines: number(row, "lines"),
            bytes: number(row, "bytes"),
            records: number(row, "records"),
            gated: number(row, "gated"),
            limited: number(row, "limited"),
            rejected: number(row, "rejected"),
            duplicates: number(row, "duplicates"),
            lost_bytes: number(row, "lost_bytes"),
        },
        tenant: row.get("tenant"),
        namespace: row.get("namespace"),
        pod: row.get("pod"),
        container: row.get("container"),
        service: row.get("service"),
        path: row.get("path"),
        updated_us: row.get("updated_us"),
    };
    Ok(rows.iter().map(audit).collect())
}

/// How many streams these files are of.
pub fn count_streams(files: &[StreamAudit]) -> u64 {
    let streams: std::collections::HashSet<&StreamKey> = files.iter().map(|file| &file.stream).collect();
    streams.len() as u64
}

/// What concerns the store as a whole: sums that name no tenant.
pub async fn whole(store: &Store) -> Result<WholeAudit, StoreError> {
    let client = store.pooled().await?;
    let sql =
        "select (select coalesce(sum(messages), 0)::bigint from dead_letters), (select count(*) from losses),
                      (select coalesce(sum(expired), 0)::bigint from sealed_counts),
                      (select coalesce(sum(f.count), 0)::bigint from fresh f join seals z using (lane)
                       where f.lane = 0 and f.seq > z.upto),
                      (select coalesce(sum(offset_to - offset_from), 0)::bigint from offset_gaps),
                      (select coalesce(sum(records), 0)::bigint from foreign_counts),
                      (select coalesce(sum(bytes), 0)::bigint from foreign_counts)";
    let row = client.query_one(sql, &[]).await.map_err(StoreError::sql("read", "the counters"))?;
    let number = |column: usize| row.get::<_, i64>(column).max(0).unsigned_abs();
    Ok(WholeAudit {
        dead_letters: number(0),
        losses: number(1),
        expired_records: number(2),
        carried_records: number(3),
        messages_missing: number(4),
        foreign_records: number(5),
        foreign_bytes: number(6),
    })
}

/// Position and size of what PostgreSQL holds, for a status line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Size {
    pub database_bytes: u64,
}

pub async fn size(store: &Store) -> Result<Size, StoreError> {
    let client = store.pooled().await?;
    let sql = "select pg_database_size(current_database())";
    let row = client.query_one(sql, &[]).await.map_err(StoreError::sql("read", "the database's size"))?;
    Ok(Size { database_bytes: row.get::<_, i64>(0).max(0).unsigned_abs() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_of_many_files_is_one() {
        let file = |stream: &str, file: u64| StreamAudit {
            stream: StreamKey(stream.to_owned()),
            file: FileId(file),
            topic_partition: 0,
            position_end: 0,
            counts: StreamCounts::default(),
            tenant: String::new(),
            namespace: String::new(),
            pod: String::new(),
            container: String::new(),
            service: String::new(),
            path: String::new(),
            updated_us: 0,
        };
        assert_eq!(count_streams(&[file("a", 1), file("b", 1), file("a", 2), file("a", 3)]), 2);
    }
}
