//! What each table partition holds: blocks, records, bytes, its oldest and newest record, its widest block, and of which tenants and namespaces. Sealing notes it in its own transaction,
//! so that nobody has to look into hundreds of tables to know it.
//!
//! Promise: while [`is_complete`] holds in a snapshot, a tenant without a row for a class has no sealed record in it in this
//! snapshot. An older version's sealer notes nothing; the next sealer of this version then reads the partitions again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use cordwood_core::retention::class::{ClassId, leaf_table};
use jiff::Timestamp;
use tokio_postgres::{Client, GenericClient};

use crate::error::StoreError;
use crate::ring::BlockRow;
use crate::scope::Scope;

/// A table partition by its class and lower bound, microseconds.
pub type LeafKey = (i32, i64);

/// Whether both tables hold all that was sealed.
pub(crate) const COMPLETE: &str = "(select c.round = r.round from contents_of c, ring_ctl r)";

/// Width of the widest block of a row `s` of sealed_leaves, null where it is not known.
pub(crate) const WIDTH_US: &str = "case when s.width_blocks = s.blocks then s.width_us end";

/// Whether records and the newest one of a row `s` of sealed_leaves are known.
pub(crate) const COUNTED: &str = "coalesce(s.counted_blocks = s.blocks, false)";

#[derive(Debug)]
struct NotedLeaf {
    blocks: i64,
    /// Begin of the oldest.
    oldest_us: i64,
    /// Of the widest.
    width_us: i64,
    records: i64,
    /// End of the newest.
    newest_us: i64,
    /// Blocks that are in an index.
    indexed: i64,
}

/// Records of one tenant and namespace in one table partition.
#[derive(Debug)]
pub struct LeafNamespace {
    pub leaf: LeafKey,
    pub tenant: Arc<str>,
    pub namespace: String,
    pub records: u64,
}

/// What a round put where.
#[derive(Debug, Default)]
pub(crate) struct Noted {
    leaves: BTreeMap<LeafKey, NotedLeaf>,
    tenants: BTreeSet<(String, LeafKey)>,
    /// Records by tenant and namespace.
    namespaces: BTreeMap<LeafKey, BTreeMap<(Arc<str>, String), i64>>,
}

impl Noted {
    pub fn block(&mut self, leaf_from_us: i64, block: &BlockRow) {
        let leaf = (block.class, leaf_from_us);
        let new = NotedLeaf {
            blocks: 0,
            oldest_us: i64::MAX,
            width_us: 0,
            records: 0,
            newest_us: i64::MIN,
            indexed: 0,
        };
        let noted = self.leaves.entry(leaf).or_insert(new);
        noted.blocks += 1;
        noted.oldest_us = noted.oldest_us.min(block.time_from_us);
        noted.width_us = noted.width_us.max(block.time_to_us.saturating_sub(block.time_from_us));
        noted.records += i64::from(block.count);
        noted.newest_us = noted.newest_us.max(block.time_to_us);
        noted.indexed += i64::from(block.is_indexed());
        let tenant = (block.tenant.to_string(), leaf);
        if !self.tenants.contains(&tenant) {
            self.tenants.insert(tenant);
        }
    }

    pub fn namespaces(&mut self, all: Vec<LeafNamespace>) {
        for LeafNamespace { leaf, tenant, namespace, records } in all {
            let records = i64::try_from(records).unwrap_or(i64::MAX);
            *self.namespaces.entry(leaf).or_default().entry((tenant, namespace)).or_default() += records;
        }
    }

    /// Whether all records of a table partition are of a namespace that is named.
    fn is_named(&self, leaf: &LeafKey, noted: &NotedLeaf) -> bool {
        let named: i64 = self.namespaces.get(leaf).map_or(0, |namespaces| namespaces.values().sum());
        named == noted.records
    }

    /// In the transaction of the round, after its blocks. `round`: its number.
    pub async fn write(&self, client: &impl GenericClient, round: i64) -> Result<(), StoreError> {
        let time = |us: &i64| Timestamp::from_microsecond(*us).unwrap_or_default();
        let classes: Vec<i32> = self.leaves.keys().map(|leaf| leaf.0).collect();
        let from: Vec<Timestamp> = self.leaves.keys().map(|leaf| time(&leaf.1)).collect();
        let tables: Vec<String> =
            self.leaves.keys().map(|leaf| leaf_table(ClassId(leaf.0), leaf.1)).collect();
        let blocks: Vec<i64> = self.leaves.values().map(|noted| noted.blocks).collect();
        let oldest: Vec<Timestamp> = self.leaves.values().map(|noted| time(&noted.oldest_us)).collect();
        let widths: Vec<i64> = self.leaves.values().map(|noted| noted.width_us).collect();
        let records: Vec<i64> = self.leaves.values().map(|noted| noted.records).collect();
        let newest: Vec<Timestamp> = self.leaves.values().map(|noted| time(&noted.newest_us)).collect();
        let named: Vec<bool> = self.leaves.iter().map(|(leaf, noted)| self.is_named(leaf, noted)).collect();
        let indexed: Vec<i64> = self.leaves.values().map(|noted| noted.indexed).collect();
        client
            .execute(
                &format!(
                    "insert into sealed_leaves as s (class, time_from, blocks, bytes, oldest, width_us, width_blocks, \
                       records, newest, counted_blocks, named_blocks, indexed_blocks) \
                     select class, time_from, blocks, coalesce(pg_total_relation_size(to_regclass(leaf)), 0) \
                       + coalesce(pg_total_relation_size(to_regclass(leaf || '_index')), 0), oldest, \
                       width_us, blocks, records, newest, blocks, case when named then blocks end, indexed \
                     from unnest($1::int[], $2::timestamptz[], $3::text[], $4::bigint[], $5::timestamptz[], $6::bigint[], \
                         $7::bigint[], $8::timestamptz[], $9::boolean[], $10::bigint[]) \
                       as u (class, time_from, leaf, blocks, oldest, width_us, records, newest, named, indexed) \
                     on conflict (class, time_from) do update set blocks = s.blocks + excluded.blocks, \
                       bytes = excluded.bytes, oldest = least(s.oldest, excluded.oldest), sealed = now(), \
                       width_us = greatest({WIDTH_US}, excluded.width_us), \
                       width_blocks = case when s.width_blocks = s.blocks then s.blocks + excluded.blocks end, \
                       records = s.records + excluded.records, newest = greatest(s.newest, excluded.newest), \
                       counted_blocks = case when {COUNTED} then s.blocks + excluded.blocks end, \
                       named_blocks = case when s.named_blocks = s.blocks and excluded.named_blocks is not null \
                         then s.blocks + excluded.blocks end, \
                       indexed_blocks = s.indexed_blocks + excluded.indexed_blocks"
                ),
                &[&classes, &from, &tables, &blocks, &oldest, &widths, &records, &newest, &named, &indexed],
            )
            .await
            .map_err(StoreError::sql("note", "what the table partitions hold"))?;
        let tenants: Vec<&str> = self.tenants.iter().map(|(tenant, _)| tenant.as_str()).collect();
        let classes: Vec<i32> = self.tenants.iter().map(|(_, leaf)| leaf.0).collect();
        let from: Vec<Timestamp> = self.tenants.iter().map(|(_, leaf)| time(&leaf.1)).collect();
        client
            .execute(
                "insert into leaf_tenants (tenant, class, time_from) \
                 select * from unnest($1::text[], $2::int[], $3::timestamptz[]) on conflict do nothing",
                &[&tenants, &classes, &from],
            )
            .await
            .map_err(StoreError::sql("note", "whose records the table partitions hold"))?;
        self.write_namespaces(client).await?;
        client
            .execute("update contents_of set round = $1::bigint where round = $1::bigint - 1", &[&round])
            .await
            .map(drop)
            .map_err(StoreError::sql("note", "the round"))
    }

    async fn write_namespaces(&self, client: &impl GenericClient) -> Result<(), StoreError> {
        let rows: Vec<(&LeafKey, &str, &str, i64)> = self
            .namespaces
            .iter()
            .flat_map(|(leaf, all)| all.iter().map(move |(whose, n)| (leaf, &*whose.0, whose.1.as_str(), *n)))
            .collect();
        let classes: Vec<i32> = rows.iter().map(|row| row.0.0).collect();
        let from: Vec<Timestamp> =
            rows.iter().map(|row| Timestamp::from_microsecond(row.0.1).unwrap_or_default()).collect();
        let tenants: Vec<&str> = rows.iter().map(|row| row.1).collect();
        let namespaces: Vec<&str> = rows.iter().map(|row| row.2).collect();
        let records: Vec<i64> = rows.iter().map(|row| row.3).collect();
        client
            .execute(
                "insert into leaf_namespaces as n (class, time_from, tenant, namespace, records) \
                 select * from unnest($1::int[], $2::timestamptz[], $3::text[], $4::text[], $5::bigint[]) \
                 on conflict (class, time_from, tenant, namespace) do update set records = n.records + excluded.records",
                &[&classes, &from, &tenants, &namespaces, &records],
            )
            .await
            .map(drop)
            .map_err(StoreError::sql("note", "of which namespaces the table partitions hold records"))
    }
}

/// Whether what is noted is all there is, in the snapshot of the client's transaction.
pub async fn is_complete(client: &impl GenericClient) -> Result<bool, StoreError> {
    let row = client.query_one(&format!("select {COMPLETE}"), &[]).await;
    Ok(row.map_err(StoreError::sql("read", "contents_of"))?.get(0))
}

/// The classes in which the tenants of `scope` have sealed records, ascending. `None`: not known, it may be any. Blocks that are listed
/// by it must be listed in the same snapshot: what is sealed later may be of a class that is not among these.
pub async fn classes_of(client: &impl GenericClient, scope: &Scope) -> Result<Option<Vec<i32>>, StoreError> {
    let sql = format!(
        "select {COMPLETE}, array(select distinct class from leaf_tenants \
         where $1::text[] is null or tenant = any($1) order by class)"
    );
    let row = client.query_one(&sql, &[&scope.tenants_at_most()]).await;
    let row = row.map_err(StoreError::sql("read", "the classes of the tenants"))?;
    Ok(row.get::<_, bool>(0).then(|| row.get(1)))
}

/// Reads what every table partition holds, unless all of it is noted. For the session that holds the sealer's lock: nobody seals
/// meanwhile. One table at a time, each a transaction of its own: all of them together could need more locks than PostgreSQL has.
pub(crate) async fn complete(client: &Client) -> Result<(), StoreError> {
    if is_complete(client).await? {
        return Ok(());
    }
    let leaves = client
        .query("select class, time_from from leaves order by class, time_from", &[])
        .await
        .map_err(StoreError::sql("read", "the table partitions"))?;
    tracing::info!(partitions = leaves.len(), "reading what the table partitions hold");
    for row in leaves {
        let (class, from): (i32, Timestamp) = (row.get(0), row.get(1));
        let table = leaf_table(ClassId(class), from.as_microsecond());
        let sql = |operation| StoreError::sql(operation, &table);
        let there = "select to_regclass($1) is not null and pg_relation_size(to_regclass($1)) > 0";
        let there = client.query_one(there, &[&table]).await.map_err(sql("look for"))?;
        if !there.get::<_, Option<bool>>(0).unwrap_or(false) {
            continue;
        }
        // Each tenant is one probe of the index.
        let tenants = format!(
            "with recursive t as ( \
               (select tenant from {table} order by tenant limit 1) \
               union all select (select n.tenant from {table} n where n.tenant > t.tenant order by n.tenant limit 1) \
               from t where t.tenant is not null) \
             insert into leaf_tenants (tenant, class, time_from) \
             select tenant, $1, $2 from t where tenant is not null on conflict do nothing"
        );
        client.execute(&tenants, &[&class, &from]).await.map_err(sql("read the tenants of"))?;
        let sizes = format!(
            "insert into sealed_leaves (class, time_from, blocks, bytes, oldest) \
             select $1, $2, greatest(reltuples, 1)::bigint, pg_total_relation_size(oid) \
                 + coalesce(pg_total_relation_size(to_regclass('{table}_index')), 0), \
               (select time_from from {table} order by time_to, id limit 1) \
             from pg_class where oid = to_regclass('{table}') and exists (select from {table}) \
             on conflict (class, time_from) do update set bytes = excluded.bytes, width_blocks = null, counted_blocks = null, named_blocks = null, \
               oldest = least(sealed_leaves.oldest, excluded.oldest)"
        );
        client.execute(&sizes, &[&class, &from]).await.map_err(sql("read the size of"))?;
    }
    client
        .execute("update contents_of set round = (select round from ring_ctl)", &[])
        .await
        .map(drop)
        .map_err(StoreError::sql("note", "the round"))
}
