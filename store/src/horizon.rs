//! The horizon of the last retention pass: the dropping loop writes it, every planner reads it.

use cordwood_core::retention::Horizon;
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
