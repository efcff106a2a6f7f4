//! Reads which legal holds by match are in force, and which table partitions have records that they match.

use cordwood_core::retention::class::ClassId;
use cordwood_core::retention::{HeldLeaf, Hold};
use jiff::Timestamp;
use serde_json::json;
use tokio_postgres::GenericClient;

use crate::contents::COMPLETE;
use crate::error::StoreError;

/// Those in force.
pub async fn read(client: &impl GenericClient) -> Result<Vec<Hold>, StoreError> {
    let sql = "select policy, policy_uid, tenants, namespaces from holds order by policy";
    let rows = client.query(sql, &[]).await.map_err(StoreError::sql("read", "the legal holds"))?;
    let hold = |row: &tokio_postgres::Row| Hold {
        policy: row.get(0),
        policy_uid: row.get(1),
        tenants: row.get(2),
        namespaces: row.get(3),
    };
    Ok(rows.iter().map(hold).collect())
}

/// What those in force and `said` match, by table partition: one statement over what sealing noted.
pub(crate) async fn held(client: &impl GenericClient, said: &[Hold]) -> Result<Vec<HeldLeaf>, StoreError> {
    let said: Vec<_> = said
        .iter()
        .map(|hold| json!({"policy": hold.policy, "tenants": hold.tenants, "namespaces": hold.namespaces}))
        .collect();
    let list = |column: &str| format!("array(select jsonb_array_elements_text({column}))");
    let sql = format!(
        "with said as (select policy, tenants, namespaces from holds
                 union select policy, {}, {} from jsonb_to_recordset($1::jsonb) as u (policy text, tenants jsonb, namespaces jsonb)),
              h as (select policy, {} as tenants, {} as namespaces from said),
              found as (select distinct h.policy, w.class, w.time_from, w.tenant, w.namespace, w.records
                        from h join ({}) w on {MATCHES})
         select policy, class, time_from, case when count(*) = count(records) then sum(records)::bigint end
         from found group by 1, 2, 3 order by 2, 3, 1",
        list("tenants"),
        list("namespaces"),
        patterns("tenants"),
        patterns("namespaces"),
        whose(None)
    );
    let rows = client.query(&sql, &[&json!(said)]).await;
    let rows = rows.map_err(StoreError::sql("read", "what the legal holds match"))?;
    let held = |row: &tokio_postgres::Row| HeldLeaf {
        policy: row.get(0),
        class: ClassId(row.get(1)),
        from_us: row.get::<_, Timestamp>(2).as_microsecond(),
        records: row.get(3),
    };
    Ok(rows.iter().map(held).collect())
}

/// A query for the policy of a hold in force that matches records of one table partition; no row where none does.
pub(crate) fn holder(class: ClassId, time_from: &Timestamp) -> String {
    let leaf = format!("({}, timestamptz '{time_from}')", class.0);
    format!(
        "select h.policy from (select policy, {} as tenants, {} as namespaces from holds) h
         where exists (select from ({}) w where {MATCHES}) order by 1 limit 1",
        patterns("tenants"),
        patterns("namespaces"),
        whose(Some(&leaf))
    )
}

/// Whether a row of [`whose`] matches a hold. What is not known may be anybody's.
const MATCHES: &str = "(w.tenant is null or h.tenants = '{}' or w.tenant like any (h.tenants))
    and (w.namespace is null or h.namespaces = '{}' or w.namespace like any (h.namespaces))";

/// Globs as patterns of LIKE: of `%` and `\` a glob has none.
fn patterns(globs: &str) -> String {
    format!(
        "array(select replace(replace(replace(g, '_', '\\_'), '*', '%'), '?', '_') from unnest({globs}) g)"
    )
}

/// Whose records lie in which table partition: by tenant and namespace where they are named, by tenant alone where an older version
/// sealed, by neither while nobody knows what was sealed. `leaf`: of this one alone, `(class, time_from)`.
fn whose(leaf: Option<&str>) -> String {
    let of = |alias: &str| match leaf {
        Some(leaf) => format!("and ({alias}.class, {alias}.time_from) = {leaf}"),
        None => String::new(),
    };
    format!(
        "select n.class, n.time_from, n.tenant, n.namespace, n.records
           from leaf_namespaces n join sealed_leaves s using (class, time_from)
          where {COMPLETE} and s.named_blocks = s.blocks {}
         union all
         select s.class, s.time_from, t.tenant, null, null from sealed_leaves s left join leaf_tenants t using (class, time_from)
          where {COMPLETE} and s.named_blocks is distinct from s.blocks {}
         union all
         select l.class, l.time_from, null, null, null from leaves l where not coalesce({COMPLETE}, false) {}",
        of("n"),
        of("s"),
        of("l")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_is_named_by_numbers_alone() {
        let sql = holder(ClassId(7), &Timestamp::UNIX_EPOCH);
        assert!(sql.contains("(n.class, n.time_from) = (7, timestamptz '1970-01-01T00:00:00Z')"), "{sql}");
    }
}
