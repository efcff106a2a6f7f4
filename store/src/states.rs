//! What state each policy was in at the last pass: for whoever reads the database alone.

use std::collections::BTreeMap;

use cordwood_core::retention::State;
use tokio_postgres::GenericClient;

use crate::ddl::DdlSession;
use crate::error::StoreError;

/// By the policy's name. A policy that is gone has none.
pub async fn read(client: &impl GenericClient) -> Result<BTreeMap<String, State>, StoreError> {
    let rows = client.query("select policy, state from policy_states", &[]).await;
    let rows = rows.map_err(StoreError::sql("read", "the states of the policies"))?;
    let state = |row: &tokio_postgres::Row| {
        let name: &str = row.get(1);
        let state = State::ALL.into_iter().find(|state| state.as_str() == name)?;
        Some((row.get(0), state))
    };
    Ok(rows.iter().filter_map(state).collect())
}

/// Writes what is another than it was; the session's advisory lock sees to it that one alone does.
pub async fn note(session: &DdlSession, all: &[(String, State)]) -> Result<(), StoreError> {
    let names: Vec<&str> = all.iter().map(|(policy, _)| policy.as_str()).collect();
    let states: Vec<&str> = all.iter().map(|(_, state)| state.as_str()).collect();
    let sql = "with said as (select * from unnest($1::text[], $2::text[]) as u (policy, state)),
                    gone as (delete from policy_states p where not exists (select from said s where s.policy = p.policy))
               insert into policy_states as p (policy, state) select policy, state from said
               on conflict (policy) do update set state = excluded.state, since = now() where p.state <> excluded.state";
    let noted = session.client().execute(sql, &[&names, &states]).await;
    noted.map(drop).map_err(StoreError::sql("write", "the states of the policies"))
}
