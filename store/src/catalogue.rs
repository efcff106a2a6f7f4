//! Reads the classes, table partitions and routes that PostgreSQL has: the input of the planner and of the sealer. Reading takes no lock that
//! delays a COPY or a query.

use cordwood_core::retention::catalogue::{Catalogue, Leaf, LeafState};
use cordwood_core::retention::class::{ApprovedFor, Class, ClassId, PolicyLevel, Wanted, leaf_table};
use cordwood_core::retention::routes::Routes;
use cordwood_core::retention::step::LeafRef;
use cordwood_core::retention::{Approval, Drift, Hold, Policy, Strange};
use jiff::Timestamp;
use tokio_postgres::{GenericClient, Row};

use crate::contents::COUNTED;
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

/// Everything the planner looks at, and the sealer. What records wait for is read before the leaves: one that is sealed meanwhile then
/// counts as both, never as neither.
pub async fn read(client: &impl GenericClient) -> Result<Catalogue, StoreError> {
    let wanted = wanted(client).await?;
    let classes = classes(client).await?;
    let (leaves, drift) = leaves(client).await?;
    Ok(Catalogue {
        wanted,
        classes,
        leaves,
        drift,
        routes: routes(client).await?,
        holds: crate::holds::read(client).await?,
        held: Vec::new(),
        lock_slots: Some(lock_slots(client).await?),
        horizon: crate::horizon::read(client).await?,
    })
}

async fn classes(client: &impl GenericClient) -> Result<Vec<Class>, StoreError> {
    // A class has its table when blocks_c<id> is attached to the root.
    let sql =
        "select c.id, c.policy, c.policy_uid, c.level, c.retention_us, c.grace_us, c.legal_hold, c.wanted_us,
                      c.wanted_grace_us, c.effective_from, c.approval, c.approved_by, c.approved_before,
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
                approved: approved(row),
                has_table: row.get("has_table"),
            })
        })
        .collect()
}

fn approved(row: &Row) -> Option<ApprovedFor> {
    let before: Timestamp = row.get::<_, Option<_>>("approved_before")?;
    let approval =
        Approval { plan: row.get::<_, Option<_>>("approval")?, by: row.get::<_, Option<_>>("approved_by")? };
    Some(ApprovedFor { approval, before_us: before.as_microsecond() })
}

/// The leaves; and those that somebody changed, which nobody seals into and nobody drops.
async fn leaves(client: &impl GenericClient) -> Result<(Vec<Leaf>, Vec<Drift>), StoreError> {
    // Only leaves that have a row in `leaves`: a table that somebody else attached is never ours to drop. The name follows from class
    // and bound, so the table is found by it; pg_inherits says how it hangs. What it holds is as sealing noted it; PostgreSQL is asked
    // for the size of the few of which nothing is noted, and of all while not everything is. The size of a leaf that is being
    // detached is estimated: asking for it would queue behind the detach.
    let sql = format!(
        "select l.class, l.time_from, l.time_to, l.detached, t.oid is not null as exists,
                      coalesce(i.inhparent = to_regclass('blocks_c' || l.class), false) as attached,
                      coalesce(i.inhdetachpending, false) as pending, i.inhparent::regclass::text as parent,
                      bounds[1]::timestamptz as bound_from, bounds[2]::timestamptz as bound_to,
                      coalesce(case when i.inhdetachpending then t.relpages::bigint * 8192
                                    when s.class is not null then s.bytes
                                    when complete then pg_relation_size(t.oid)
                                    else pg_total_relation_size(t.oid) end, 0) as bytes,
                      s.class is null and not coalesce(i.inhdetachpending, false)
                        and coalesce(pg_relation_size(t.oid), 0) = 0 as empty,
                      coalesce(s.blocks, greatest(coalesce(t.reltuples, 0), 0)::bigint) as blocks,
                      s.oldest, case when {COUNTED} then s.newest end as newest,
                      case when {COUNTED} then s.records end as records
               from leaves l
               left join pg_class t on t.oid = to_regclass(
                 'blocks_c' || l.class || '_' || to_char(l.time_from at time zone 'UTC', 'YYYYMMDD\"t\"HH24MI'))
               left join pg_inherits i on i.inhrelid = t.oid
               left join sealed_leaves s on s.class = l.class and s.time_from = l.time_from
               cross join lateral regexp_match(pg_get_expr(t.relpartbound, 0),
                 '^FOR VALUES FROM \\(''([^'']+)''\\) TO \\(''([^'']+)''\\)$') as bounds
               cross join (select c.round = r.round from contents_of c, ring_ctl r) as noted (complete)
               order by l.class, l.time_from"
    );
    let rows = client.query(&sql, &[]).await.map_err(StoreError::sql("read", "the table partitions"))?;
    let (mut leaves, mut drift) = (Vec::with_capacity(rows.len()), Vec::new());
    for row in &rows {
        match drift_of(row) {
            Some(strange) => drift.push(strange),
            None => leaves.push(leaf(row)),
        }
    }
    Ok((leaves, drift))
}

/// What is strange about a leaf that is attached.
fn drift_of(row: &Row) -> Option<Drift> {
    let parent: String = row.get::<_, Option<_>>("parent")?;
    let time = |name: &str| row.get::<_, Option<Timestamp>>(name).map(Timestamp::as_microsecond);
    let class = ClassId(row.get("class"));
    let should = (time("time_from")?, time("time_to")?);
    let is = time("bound_from").zip(time("bound_to"));
    let what = if !row.get::<_, bool>("attached") {
        Strange::Parent { is: parent }
    } else if is != Some(should) {
        Strange::Bounds { is, should }
    } else {
        return None;
    };
    let taken = std::iter::once(should).chain(is.filter(|_| row.get("attached"))).collect();
    Some(Drift { class: Some(class), table: leaf_table(class, should.0), what, taken })
}

/// Everything that [`read`] says, which tables are strange that no leaf is, and what the legal holds match: for who plans.
pub async fn look(client: &impl GenericClient) -> Result<Catalogue, StoreError> {
    look_for(client, &[]).await
}

/// The same, and what the legal holds of these policies match, in force or not.
pub async fn look_for(client: &impl GenericClient, policies: &[Policy]) -> Result<Catalogue, StoreError> {
    let mut catalogue = read(client).await?;
    let said: Vec<Hold> = policies.iter().filter_map(Hold::of).collect();
    if !said.is_empty() || !catalogue.holds.is_empty() {
        catalogue.held = crate::holds::held(client, &said).await?;
    }
    let fail = StoreError::sql("look for", "tables that are not Cordwood's");
    let sql = "with tables as (
                 select k.id as class, c.oid, c.relname::text as name, i.inhdetachpending as pending,
                        regexp_match(pg_get_expr(c.relpartbound, 0), '^FOR VALUES FROM \\(''([^'']+)''\\) TO \\(''([^'']+)''\\)$') as bounds
                   from classes k join pg_inherits i on i.inhparent = to_regclass('blocks_c' || k.id) join pg_class c on c.oid = i.inhrelid)
               select t.class, t.name, l.class is null as is_foreign, bounds[1]::timestamptz as bound_from,
                      bounds[2]::timestamptz as bound_to, known.number - of_it.number as missing
                 from tables t
                 left join leaves l on l.class = t.class and t.name =
                   'blocks_c' || l.class || '_' || to_char(l.time_from at time zone 'UTC', 'YYYYMMDD\"t\"HH24MI')
                 cross join (select count(*) as number from pg_index where indrelid = 'blocks'::regclass) as known
                 cross join lateral (select count(*) as number from pg_index where indrelid = t.oid and indisvalid) as of_it
                where l.class is null or (known.number > of_it.number and not t.pending)
               union all
               select null, c.relname::text, true, null, null, 0
                 from pg_inherits i join pg_class c on c.oid = i.inhrelid
                where i.inhparent = 'blocks'::regclass and not exists (select from classes k where 'blocks_c' || k.id = c.relname)
                order by 2";
    for row in client.query(sql, &[]).await.map_err(fail)? {
        let time = |name: &str| row.get::<_, Option<Timestamp>>(name).map(Timestamp::as_microsecond);
        let class = row.get::<_, Option<i32>>("class").map(ClassId);
        let is_foreign: bool = row.get("is_foreign");
        let what = match (is_foreign, class) {
            (true, Some(_)) => Strange::Foreign,
            (true, None) => Strange::ForeignClass,
            (false, _) => Strange::Indexes { missing: row.get("missing") },
        };
        let bounds = time("bound_from").zip(time("bound_to")).filter(|_| is_foreign);
        let table = row.get("name");
        catalogue.drift.push(Drift { class, table, what, taken: bounds.into_iter().collect() });
    }
    Ok(catalogue)
}

fn leaf(row: &Row) -> Leaf {
    let (from, to): (Timestamp, Timestamp) = (row.get("time_from"), row.get("time_to"));
    let detached: Option<Timestamp> = row.get("detached");
    let class = ClassId(row.get("class"));
    let state = match (row.get("exists"), row.get("attached"), row.get("pending")) {
        (false, _, _) => LeafState::Missing,
        (true, true, true) => LeafState::Detaching,
        (true, true, false) => LeafState::Attached,
        (true, false, _) => LeafState::Detached { at_us: detached.map(Timestamp::as_microsecond) },
    };
    let time = |name: &str| row.get::<_, Option<Timestamp>>(name).map(Timestamp::as_microsecond);
    let empty = row.get("empty");
    Leaf {
        table: leaf_table(class, from.as_microsecond()),
        class,
        from_us: from.as_microsecond(),
        to_us: to.as_microsecond(),
        bytes: row.get("bytes"),
        empty,
        blocks: row.get("blocks"),
        oldest_us: time("oldest"),
        newest_us: time("newest"),
        records: if empty { Some(0) } else { row.get("records") },
        state,
    }
}

/// Where records wait for a table partition, as the sealer noted it.
async fn wanted(client: &impl GenericClient) -> Result<Vec<LeafRef>, StoreError> {
    let sql = "select class, time_from, time_to from wanted_leaves order by class, time_from";
    let rows = client.query(sql, &[]).await.map_err(StoreError::sql("read", "wanted_leaves"))?;
    let time = |row: &Row, at: usize| row.get::<_, Timestamp>(at).as_microsecond();
    let leaf = |row: &Row| LeafRef { class: ClassId(row.get(0)), from_us: time(row, 1), to_us: time(row, 2) };
    Ok(rows.iter().map(leaf).collect())
}

/// Entries of the server's lock table, for all sessions together (PostgreSQL's documentation of `max_locks_per_transaction`).
async fn lock_slots(client: &impl GenericClient) -> Result<i64, StoreError> {
    let sql = "select (max(setting::bigint) filter (where name = 'max_locks_per_transaction')
                       * sum(setting::bigint) filter (where name <> 'max_locks_per_transaction'))::bigint
               from pg_settings where name in ('max_locks_per_transaction', 'max_connections', 'max_prepared_transactions',
                 'max_worker_processes', 'max_wal_senders', 'autovacuum_max_workers')";
    let row = client.query_one(sql, &[]).await.map_err(StoreError::sql("read", "the server's settings"))?;
    Ok(row.get(0))
}

/// PostgreSQL's clock, microseconds: a second opinion on the operator's.
pub async fn clock(client: &impl GenericClient) -> Result<i64, StoreError> {
    let row = client
        .query_one("select clock_timestamp()", &[])
        .await
        .map_err(StoreError::sql("read", "PostgreSQL's clock"))?;
    Ok(row.get::<_, Timestamp>(0).as_microsecond())
}
