//! What classes, table partitions and routes PostgreSQL has: the planner's input, and the sealer's routes.
//! Reading takes no lock that a COPY or a query would notice.

use cordwood_core::retention::catalogue::{Catalogue, Leaf, LeafState};
use cordwood_core::retention::class::{Class, ClassId, PolicyLevel, Wanted, class_table, leaf_table};
use cordwood_core::retention::routes::Routes;
use jiff::Timestamp;
use tokio_postgres::GenericClient;

use crate::error::StoreError;

/// The routes in force, in the snapshot of the client's transaction. `None` before the operator's first pass: the sealer
/// then carries everything over.
pub async fn routes(client: &impl GenericClient) -> Result<Option<Routes>, StoreError> {
    let row = client
        .query_opt("select body::text from routes", &[])
        .await
        .map_err(StoreError::sql("read", "the retention routes"))?;
    let Some(row) = row else { return Ok(None) };
    let body: &str = row.get(0);
    let decode = |error: serde_json::Error| StoreError::Decode {
        thing: "the retention routes".to_owned(),
        message: error.to_string(),
    };
    serde_json::from_str(body).map(Some).map_err(decode)
}

/// Everything the planner looks at, and the sealer. The size of every leaf is asked, also of empty ones: a few hundred stat
/// calls.
pub async fn read(client: &impl GenericClient) -> Result<Catalogue, StoreError> {
    Ok(Catalogue {
        classes: classes(client).await?,
        leaves: leaves(client).await?,
        routes: routes(client).await?,
        oldest_fresh_us: oldest_carried(client).await?,
    })
}

async fn classes(client: &impl GenericClient) -> Result<Vec<Class>, StoreError> {
    // A class has its table when blocks_c<id> is attached to the root.
    let sql =
        "select c.id, c.policy, c.policy_uid, c.level, c.retention_us, c.grace_us, c.legal_hold, c.wanted_us,
                      c.wanted_grace_us, c.effective_from,
                      exists (select from pg_inherits i where i.inhparent = 'blocks'::regclass
                              and i.inhrelid = to_regclass('blocks_c' || c.id)) as has_table
               from classes c order by c.id";
    let rows = client.query(sql, &[]).await.map_err(StoreError::sql("read", "the retention classes"))?;
    rows.iter()
        .map(|row| {
            let level: i16 = row.get("level");
            let effective: Option<Timestamp> = row.get("effective_from");
            let wanted: Option<i64> = row.get("wanted_us");
            let grace_us: i64 = row.get("grace_us");
            let wanted_grace: Option<i64> = row.get("wanted_grace_us");
            Ok(Class {
                id: ClassId(row.get("id")),
                policy: row.get("policy"),
                policy_uid: row.get("policy_uid"),
                level: PolicyLevel::from_i16(level).ok_or_else(|| StoreError::Decode {
                    thing: "a retention class".to_owned(),
                    message: format!("level {level} is none"),
                })?,
                retention_us: row.get("retention_us"),
                grace_us,
                legal_hold: row.get("legal_hold"),
                wanted: wanted.zip(effective).map(|(retention_us, effective_from)| Wanted {
                    retention_us,
                    grace_us: wanted_grace.unwrap_or(grace_us),
                    effective_from_us: effective_from.as_microsecond(),
                }),
                has_table: row.get("has_table"),
            })
        })
        .collect()
}

async fn leaves(client: &impl GenericClient) -> Result<Vec<Leaf>, StoreError> {
    // Only leaves of our books: a table that somebody else attached is never ours to drop. The name follows from class
    // and bound, so the table is found by it; pg_inherits says how it hangs. The size of a leaf that is being detached
    // is estimated: asking for it would queue behind the detach.
    let sql = "select l.class, l.time_from, l.time_to, l.detached, t.oid is not null as exists,
                      i.inhrelid is not null as attached, coalesce(i.inhdetachpending, false) as pending,
                      coalesce(case when i.inhdetachpending then t.relpages::bigint * 8192
                                    else pg_total_relation_size(t.oid) end, 0) as bytes,
                      not coalesce(i.inhdetachpending, false) and coalesce(pg_relation_size(t.oid), 0) = 0 as empty,
                      greatest(coalesce(t.reltuples, 0), 0)::bigint as blocks
               from leaves l
               left join pg_class t on t.oid = to_regclass(
                 'blocks_c' || l.class || '_' || to_char(l.time_from at time zone 'UTC', 'YYYYMMDD\"t\"HH24MI'))
               left join pg_inherits i on i.inhrelid = t.oid and i.inhparent = to_regclass('blocks_c' || l.class)
               order by l.class, l.time_from";
    let rows = client.query(sql, &[]).await.map_err(StoreError::sql("read", "the table partitions"))?;
    Ok(rows
        .iter()
        .map(|row| {
            let (from, to): (Timestamp, Timestamp) = (row.get("time_from"), row.get("time_to"));
            let detached: Option<Timestamp> = row.get("detached");
            let class = ClassId(row.get("class"));
            let state = match (row.get("exists"), row.get("attached"), row.get("pending")) {
                (false, _, _) => LeafState::Missing,
                (true, true, true) => LeafState::Detaching,
                (true, true, false) => LeafState::Attached,
                (true, false, _) => LeafState::Detached { at_us: detached.map(Timestamp::as_microsecond) },
            };
            Leaf {
                table: leaf_table(class, from.as_microsecond()),
                class,
                from_us: from.as_microsecond(),
                to_us: to.as_microsecond(),
                bytes: row.get("bytes"),
                empty: row.get("empty"),
                blocks: row.get("blocks"),
                oldest_us: None,
                state,
            }
        })
        .collect())
}

/// Lane 0 holds records for which no table partition existed: leaves are made back to the oldest of them.
async fn oldest_carried(client: &impl GenericClient) -> Result<Option<i64>, StoreError> {
    let sql = "select min(f.time_from) from fresh f
               where f.lane = 0 and f.seq > (select upto from seals where lane = 0)";
    let row = client.query_one(sql, &[]).await.map_err(StoreError::sql("read", "the carried records"))?;
    Ok(row.get::<_, Option<Timestamp>>(0).map(Timestamp::as_microsecond))
}

/// Begin of the oldest block of each class, microseconds; classes without records are left out. One index probe per class:
/// asked for the status, not for the plan.
pub async fn oldest_records(
    client: &impl GenericClient,
    catalogue: &Catalogue,
) -> Result<Vec<(ClassId, i64)>, StoreError> {
    let mut oldest = Vec::new();
    for class in catalogue.classes.iter().filter(|class| class.has_table) {
        let sql = format!("select time_from from {} order by time_to, id limit 1", class_table(class.id));
        let row =
            client.query_opt(&sql, &[]).await.map_err(StoreError::sql("read", class_table(class.id)))?;
        if let Some(row) = row {
            oldest.push((class.id, row.get::<_, Timestamp>(0).as_microsecond()));
        }
    }
    Ok(oldest)
}

/// PostgreSQL's clock, microseconds: a second opinion on the operator's.
pub async fn clock(client: &impl GenericClient) -> Result<i64, StoreError> {
    let row = client
        .query_one("select clock_timestamp()", &[])
        .await
        .map_err(StoreError::sql("read", "PostgreSQL's clock"))?;
    Ok(row.get::<_, Timestamp>(0).as_microsecond())
}
