//! Applies the steps that begin, change and end a legal hold that matches by tenant and namespace.

use cordwood_core::retention::Hold;

use super::row::Row;
use super::{DdlSession, Ledger, begin};
use crate::error::StoreError;

/// Begins or changes a hold. After the commit no table partition with records that it matches is detached or dropped, because
/// [`super::Target::fence`] looks for holds.
pub(super) async fn put(session: &mut DdlSession, hold: &Hold, ledger: Ledger<'_>) -> Result<(), StoreError> {
    let may_change = Row::new()
        .with("policy_uid", "text", &hold.policy_uid)
        .with("tenants", "text[]", &hold.tenants)
        .with("namespaces", "text[]", &hold.namespaces);
    let assignments = may_change.assignments();
    let row = Row::new().with("policy", "text", &hold.policy).and(may_change);
    let sql = format!(
        "insert into holds ({}) values ({}) on conflict (policy) do update set {assignments}",
        row.columns(),
        row.placeholders()
    );
    let transaction = begin(&mut session.client).await?;
    let fail = || StoreError::sql("put the legal hold of", &hold.policy);
    transaction.execute(&sql, &row.values()).await.map_err(fail())?;
    ledger.write(&transaction).await?;
    transaction.commit().await.map_err(fail())
}

pub(super) async fn lift(
    session: &mut DdlSession,
    policy: &str,
    ledger: Ledger<'_>,
) -> Result<(), StoreError> {
    let transaction = begin(&mut session.client).await?;
    let fail = || StoreError::sql("lift the legal hold of", policy);
    transaction.execute("delete from holds where policy = $1", &[&policy]).await.map_err(fail())?;
    ledger.write(&transaction).await?;
    transaction.commit().await.map_err(fail())
}
