//! The dictionary of origins.

use std::collections::HashMap;

use cordwood_core::origin::{Origin, OriginId};
use tokio_postgres::GenericClient;

use crate::error::StoreError;

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

/// As [`read`]; an id without a row (it cannot be, both are written in one transaction) is an origin of that tenant that
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
