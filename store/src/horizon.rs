//! The horizon of the last retention pass: the dropping loop writes it, every planner reads it.

use cordwood_core::retention::{Horizon, Tuning};
use jiff::Timestamp;
use tokio_postgres::GenericClient;

use crate::ddl::DdlSession;
use crate::error::StoreError;

/// `None` before the first pass.
pub async fn read(client: &impl GenericClient) -> Result<Option<Horizon>, StoreError> {
    let row = client
        .query_opt("select at, clock_at from horizon", &[])
        .await
        .map_err(StoreError::sql("read", "the horizon"))?;
    let time = |us: Timestamp| us.as_microsecond();
    Ok(row.map(|row| Horizon { at_us: time(row.get(0)), clock_us: time(row.get(1)) }))
}

/// The settings of the operator that made the last pass; `None`: there was none, or it was of an older version.
pub async fn tuning(client: &impl GenericClient) -> Result<Option<Tuning>, StoreError> {
    let sql = "select notice_us, step_us from horizon where notice_us is not null and step_us is not null";
    let row = client.query_opt(sql, &[]).await.map_err(StoreError::sql("read", "the operator's settings"))?;
    Ok(row.map(|row| Tuning { notice_us: row.get(0), horizon_step_us: row.get(1) }))
}

/// Notes them beside the horizon, where they are others.
pub async fn note_tuning(session: &DdlSession, tuning: &Tuning) -> Result<(), StoreError> {
    let sql = "update horizon set notice_us = $1, step_us = $2 where (notice_us, step_us) is distinct from ($1, $2)";
    let noted = session.client().execute(sql, &[&tuning.notice_us, &tuning.horizon_step_us]).await;
    noted.map(drop).map_err(StoreError::sql("write", "the operator's settings"))
}

/// The session's advisory lock sees to it that one alone keeps it.
pub async fn keep(session: &DdlSession, horizon: Horizon) -> Result<(), StoreError> {
    let time = |us| {
        Timestamp::from_microsecond(us)
            .map_err(|error| StoreError::Invalid(format!("time {us} us is out of range: {error}")))
    };
    let (at, clock_at) = (time(horizon.at_us)?, time(horizon.clock_us)?);
    let sql = "insert into horizon (at, clock_at) values ($1, $2)
               on conflict (only_row) do update set at = excluded.at, clock_at = excluded.clock_at";
    let kept = session.client().execute(sql, &[&at, &clock_at]).await;
    kept.map(drop).map_err(StoreError::sql("write", "the horizon"))
}
