//! Adds what writers counted of errors to the totals, in the round that seals the same transactions.

use tokio_postgres::Transaction;

use crate::error::StoreError;

/// Counts of sealed transactions that are not in the totals yet, also those that a sealer of an older version left.
const UNFOLDED: &str =
    "error_fresh f join seals z on z.lane = f.lane where f.seq > z.errors_upto and f.seq <= z.upto";

const KEY: &str = "signature, tenant, namespace, service, level, audit, task_id";

/// Call after the marks have moved. Nobody else writes to these tables, so no row lock is waited for.
pub(super) async fn fold(transaction: &Transaction<'_>) -> Result<(), StoreError> {
    let counts = format!(
        "insert into error_counts as c (hour, {KEY}, count) \
         select hour, {KEY}, sum(count)::bigint from {UNFOLDED} group by hour, {KEY} order by hour, {KEY} \
         on conflict (hour, {KEY}) do update set count = c.count + excluded.count"
    );
    // The last record of each is its sample. (A sealer of an older version leaves out the version: the next record repairs that.)
    let last = "topic_partition, kafka_offset, record_index, error_type, message";
    let newer = last.split(", ").map(|column| {
        format!(
            "{column} = case when excluded.last_seen >= g.last_seen then excluded.{column} else g.{column} end"
        )
    });
    let newer: Vec<String> = newer.collect();
    let groups = format!(
        "insert into error_groups as g ({KEY}, first_seen, last_seen, version, {last}) \
         select distinct on ({KEY}) {KEY}, min(first_seen) over (partition by {KEY}), last_seen, version, {last} \
         from {UNFOLDED} \
         order by {KEY}, last_seen desc, topic_partition desc, kafka_offset desc, record_index desc \
         on conflict ({KEY}) do update set first_seen = least(g.first_seen, excluded.first_seen), \
           last_seen = greatest(g.last_seen, excluded.last_seen), version = greatest(g.version, excluded.version), {}",
        newer.join(", ")
    );
    for (what, sql) in [("counts of errors", counts.as_str()), ("groups of errors", groups.as_str())] {
        transaction.execute(sql, &[]).await.map_err(StoreError::sql("fold", what))?;
    }
    let marks = "update seals set errors_upto = upto where errors_upto < upto";
    transaction.execute(marks, &[]).await.map_err(StoreError::sql("move", "seals"))?;
    // They are hidden from the deletion on; here is nobody who adds to them meanwhile.
    for table in ["error_counts", "error_groups"] {
        let gone = format!(
            "delete from {table} e using task_tombstones d where e.task_id <> '' and e.task_id = d.task_id \
               and e.tenant = d.tenant and e.namespace = d.namespace"
        );
        transaction
            .execute(&gone, &[])
            .await
            .map_err(StoreError::sql("delete", "errors of deleted tasks"))?;
    }
    Ok(())
}
