//! Remembers what keeps the records of each policy. When that changes, one statement writes the new state and a row of the ledger.

use std::collections::BTreeMap;

use cordwood_core::retention::{Catalogue, Policy, State, StateChange, holding, state_changes};
use tokio_postgres::GenericClient;

use crate::ddl::DdlSession;
use crate::error::StoreError;

/// By the policy's name. Of a policy that is gone: only a legal hold, which outlives it.
pub async fn read(client: &impl GenericClient) -> Result<BTreeMap<String, State>, StoreError> {
    let rows = client.query("select policy, state from policy_states", &[]).await;
    let rows = rows.map_err(StoreError::sql("read", "the states of policies"))?;
    rows.iter()
        .map(|row| {
            let word: &str = row.get(1);
            let state = State::ALL.into_iter().find(|state| state.as_str() == word);
            let state = state.ok_or_else(|| StoreError::Decode {
                thing: "the state of a policy".to_owned(),
                message: format!("{word:?} is none"),
            })?;
            Ok((row.get(0), state))
        })
        .collect()
}

/// Writes what changed to the ledger, and remembers the state of each policy. The session's advisory lock sees to it that one alone does.
pub async fn keep(
    session: &DdlSession,
    policies: &[Policy],
    catalogue: &Catalogue,
) -> Result<Vec<StateChange>, StoreError> {
    let changes = state_changes(policies, catalogue, &read(session.client()).await?);
    for change in &changes {
        write(session.client(), change).await?;
    }
    remember_active(session.client(), policies, catalogue).await?;
    Ok(changes)
}

async fn write(client: &impl GenericClient, change: &StateChange) -> Result<(), StoreError> {
    let kept = match change.is_gone {
        true => "delete from policy_states where policy = $1 and $2::text is not null returning policy",
        false => {
            "insert into policy_states (policy, state, changed_by) values ($1, $2::text, $5::text)
             on conflict (policy) do update set state = excluded.state, since = now(), changed_by = excluded.changed_by
             returning policy"
        }
    };
    let sql = format!(
        "with changed as ({kept})
         insert into ledger (at, started, policy, plan, step, subject, bytes, why, generation, outcome, changed_by)
         select clock_timestamp(), clock_timestamp(), policy, '', 'put-state', policy, 0, $3::text, $4::bigint, 'done', $5::text from changed"
    );
    let (state, why) = (change.after.as_str(), change.to_string());
    let written = client.execute(&sql, &[&change.policy, &state, &why, &change.generation, &change.by]).await;
    written.map(drop).map_err(StoreError::sql("write", "the state of a policy"))
}

/// A policy that was `Active` from its beginning, or that is gone, changed nothing that the ledger tells. A program that reads the database alone sees
/// which policies there are.
async fn remember_active(
    client: &impl GenericClient,
    policies: &[Policy],
    catalogue: &Catalogue,
) -> Result<(), StoreError> {
    let names = |policies: &mut dyn Iterator<Item = &Policy>| -> Vec<String> {
        policies.map(|policy| policy.name.clone()).collect()
    };
    let all = names(&mut policies.iter());
    let is_active = |policy: &&Policy| holding::state(policy, catalogue) == State::Active;
    let active = names(&mut policies.iter().filter(is_active));
    let sql = "with gone as (delete from policy_states where state = $3::text and policy <> all ($1::text[]))
               insert into policy_states (policy, state) select name, $3::text from unnest($2::text[]) as u (name)
               on conflict (policy) do nothing";
    let noted = client.execute(sql, &[&all, &active, &State::Active.as_str()]).await;
    noted.map(drop).map_err(StoreError::sql("write", "the states of policies"))
}
