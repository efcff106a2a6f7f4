//! The ledger: a row for every step that was done, written in the step's own transaction, and one for each that failed.

use std::time::Instant;

use cordwood_core::retention::step::Planned;
use jiff::Timestamp;
use tokio_postgres::GenericClient;

use super::{DdlSession, Transaction};
use crate::error::StoreError;

/// Bytes of the reason why a step failed.
const FAILURE_BYTES_MAX: usize = 500;

/// What is written of a step.
#[derive(Clone, Copy)]
pub(super) struct Ledger<'a> {
    planned: &'a Planned,
    plan: &'a str,
    began: Instant,
}

impl<'a> Ledger<'a> {
    /// The step begins now.
    pub fn begin(planned: &'a Planned, plan: &'a str) -> Ledger<'a> {
        Ledger { planned, plan, began: Instant::now() }
    }

    pub async fn write_raw(&self, transaction: &Transaction<'_>) -> Result<(), tokio_postgres::Error> {
        self.insert(transaction, "done", "").await
    }

    pub async fn write(&self, transaction: &Transaction<'_>) -> Result<(), StoreError> {
        self.write_raw(transaction).await.map_err(StoreError::sql("write", "the ledger"))
    }

    /// `unless`: what the row waits for, as SQL; it may use $1 to $14.
    async fn insert(
        &self,
        client: &impl GenericClient,
        outcome: &str,
        unless: &str,
    ) -> Result<(), tokio_postgres::Error> {
        let Planned { step, policy, why, bytes, records, generation, approval } = self.planned;
        let leaf = step.leaf();
        let time = |us: i64| Timestamp::from_microsecond(us).ok();
        let sql = format!(
            "insert into ledger (at, policy, plan, step, subject, bytes, why, generation, time_from, time_to, started, outcome, approval,
                                 approved_by, records)
             select clock_timestamp(), $1::text, $2::text, $3::text, $4::text, $5::bigint, $6::text, $7::bigint, $8::timestamptz,
                    $9::timestamptz, clock_timestamp() - make_interval(secs => $10::float8), $11::text, $12::text, $13::text,
                    $14::bigint
             {unless}"
        );
        client
            .execute(
                &sql,
                &[
                    policy,
                    &self.plan,
                    &step.kind(),
                    &step.subject(),
                    bytes,
                    why,
                    generation,
                    &leaf.and_then(|leaf| time(leaf.from_us)),
                    &leaf.and_then(|leaf| time(leaf.to_us)),
                    &self.began.elapsed().as_secs_f64(),
                    &outcome,
                    &approval.as_ref().map(|approval| approval.plan.as_str()),
                    &approval.as_ref().map(|approval| approval.by.as_str()),
                    records,
                ],
            )
            .await
            .map(drop)
    }

    /// That the step failed. The same reason again within an hour is no new row: passes come every few seconds.
    pub async fn fail(&self, session: &DdlSession, error: &StoreError) -> Result<(), StoreError> {
        let mut outcome = format!("failed: {error}");
        let cut = (0..=FAILURE_BYTES_MAX.min(outcome.len())).rev().find(|at| outcome.is_char_boundary(*at));
        outcome.truncate(cut.unwrap_or(0));
        let unless = "where not exists (select from ledger l where l.at > now() - interval '1 hour'
                        and l.step = $3 and l.subject = $4 and l.outcome = $11)";
        let noted = self.insert(&session.client, &outcome, unless).await;
        noted.map_err(StoreError::sql("write", "the ledger"))
    }
}
