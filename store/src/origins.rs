//! Reads and writes the dictionary of origins. A row never changes and is never deleted, so an id stays valid for ever.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

use cordwood_core::limits::ORIGIN_PROBES_MAX;
use cordwood_core::origin::{Origin, OriginId};
use tokio_postgres::GenericClient;
use tokio_postgres::types::ToSql;

use crate::connect::Store;
use crate::error::StoreError;

const ADD: &str = "insert into origins (id, tenant, tenant_id, namespace, pod, pod_uid, container, node, service, \
      workload, environment, version, region, plugin, path) \
    select * from unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], \
      $8::text[], $9::text[], $10::text[], $11::text[], $12::text[], $13::text[], $14::text[], $15::text[]) \
    on conflict do nothing";

/// The ids of these origins, in the same order; those that are new get a row. Each origin comes with the id that is tried first:
/// where another origin has it, the next higher one is tried, and after [`ORIGIN_PROBES_MAX`] of these any. Two writers that ask at the
/// same time get the same ids, but for the last case: then an origin has two rows.
/// No transaction may be open in the session.
pub async fn assign(
    client: &impl GenericClient,
    wanted: &[(OriginId, &Origin)],
) -> Result<Vec<OriginId>, StoreError> {
    let mut ids: Vec<OriginId> = wanted.iter().map(|(first, _)| *first).collect();
    let mut open: Vec<usize> = (0..wanted.len()).collect();
    for probe in 1.. {
        if open.is_empty() {
            break;
        }
        // In the order of the ids, so that two writers' inserts never wait for one another in a circle.
        open.sort_by_key(|place| ids[*place].0 as i64);
        let id: Vec<i64> = open.iter().map(|place| ids[*place].0 as i64).collect();
        let columns: Vec<Vec<&str>> = (0..wanted[0].1.fields().len())
            .map(|column| open.iter().map(|place| wanted[*place].1.fields()[column].as_str()).collect())
            .collect();
        let mut parameters: Vec<&(dyn ToSql + Sync)> = vec![&id];
        parameters.extend(columns.iter().map(|column| column as &(dyn ToSql + Sync)));
        client.execute(ADD, &parameters).await.map_err(StoreError::sql("add", "origins"))?;
        // A statement of its own: it sees what another writer added a moment before.
        let asked: Vec<OriginId> = open.iter().map(|place| ids[*place]).collect();
        let found = read(client, &asked).await?;
        open.retain(|place| found.get(&ids[*place]) != Some(wanted[*place].1));
        for place in &open {
            ids[*place].0 = match probe < ORIGIN_PROBES_MAX {
                true => ids[*place].0.wrapping_add(1),
                // Somebody fills the ids behind a hash: nobody can know these.
                false => RandomState::new().hash_one(wanted[*place].1),
            };
        }
    }
    Ok(ids)
}

/// The origins of these ids, in the snapshot of the client's transaction. An id without a row is missing from the map.
pub async fn read(
    client: &impl GenericClient,
    ids: &[OriginId],
) -> Result<HashMap<OriginId, Origin>, StoreError> {
    let ids: Vec<i64> = ids.iter().map(|id| id.0 as i64).collect();
    let rows = client
        .query(
            "select id, tenant, tenant_id, namespace, pod, pod_uid, container, node, service, workload, environment, \
             version, region, plugin, path from origins where id = any($1)",
            &[&ids],
        )
        .await
        .map_err(StoreError::sql("read", "origins"))?;
    let origin = |row: &tokio_postgres::Row| {
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
        (OriginId(row.get::<_, i64>(0) as u64), origin)
    };
    Ok(rows.iter().map(origin).collect())
}

/// As [`read`]; an id without a row (it cannot be, the row is there before a record names it) is an origin of that tenant that
/// says nothing more.
pub async fn read_or_default(
    client: &impl GenericClient,
    ids: &[OriginId],
    tenant: &str,
) -> Result<HashMap<OriginId, Origin>, StoreError> {
    let mut found = read(client, ids).await?;
    for id in ids {
        found.entry(*id).or_insert_with(|| Origin {
            tenant: tenant.to_owned(),
            tenant_id: tenant.to_owned(),
            ..Origin::default()
        });
    }
    Ok(found)
}

/// Of the tasks that were announced last, so many may have no line yet.
const TASKS_ANNOUNCED_MAX: i64 = 1_000;

/// The tenants and the namespaces that ever had data, or a task that was announced lately, ascending; `None`: more than were asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OriginNames {
    pub tenants: Option<Vec<String>>,
    pub namespaces: Option<Vec<String>>,
}

/// At most `max` of each. No record's text and no other part of an origin is told: this is what rights are asked for, not what is shown.
pub async fn names(store: &Store, max: usize) -> Result<OriginNames, StoreError> {
    let client = store.pooled().await?;
    let all = |name: &str| {
        format!(
            "array(select {name} from (select {name} from origins where {name} <> '' group by 1 order by 1 limit $1) known \
               union select {name} from (select {name} from tasks order by created desc limit $2) announced where {name} <> '' \
               order by 1 limit $1)"
        )
    };
    let sql = format!("select {}, {}", all("tenant"), all("namespace"));
    let limit = i64::try_from(max).unwrap_or(i64::MAX).saturating_add(1);
    let row = client.query_one(&sql, &[&limit, &TASKS_ANNOUNCED_MAX]).await;
    let row = row.map_err(StoreError::sql("read", "the names of origins"))?;
    let all = |names: Vec<String>| (names.len() <= max).then_some(names);
    Ok(OriginNames { tenants: all(row.get(0)), namespaces: all(row.get(1)) })
}
