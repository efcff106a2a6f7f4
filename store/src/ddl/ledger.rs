//! Writes the ledger: one row for every step that was done, in the step's own transaction, and one for a step that failed.

use std::time::Instant;

use cordwood_core::retention::step::Planned;
use jiff::Timestamp;
use tokio_postgres::GenericClient;

use super::row::Row;
use super::{DdlSession, Transaction};
use crate::error::StoreError;

/// The most bytes that are kept of the reason why a step failed.
const FAILURE_BYTES_MAX: usize = 500;

/// What the ledger says of one step.
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

    /// `unless`: a `where` clause that keeps the row from being inserted; empty: always insert. It can name the columns of the new row as
    /// those of `row`.
    async fn insert(
        &self,
        client: &impl GenericClient,
        outcome: &str,
        unless: &str,
    ) -> Result<(), tokio_postgres::Error> {
        let Planned { step, policy, why, bytes, records, generation, approval } = self.planned;
        let leaf = step.leaf();
        let time = |us: Option<i64>| us.and_then(|us| Timestamp::from_microsecond(us).ok());
        let row = Row::new()
            .with("policy", "text", policy)
            .with("plan", "text", self.plan)
            .with("step", "text", step.kind())
            .with("subject", "text", step.subject())
            .with("bytes", "int8", *bytes)
            .with("why", "text", why)
            .with("generation", "int8", *generation)
            .with("time_from", "timestamptz", time(leaf.map(|leaf| leaf.from_us)))
            .with("time_to", "timestamptz", time(leaf.map(|leaf| leaf.to_us)))
            .with("outcome", "text", outcome)
            .with("approval", "text", approval.as_ref().map(|approval| approval.plan.as_str()))
            .with("approved_by", "text", approval.as_ref().map(|approval| approval.by.as_str()))
            .with("records", "int8", *records);
        let columns = row.columns();
        let took = self.began.elapsed().as_secs_f64();
        let sql = format!(
            "insert into ledger (at, started, {columns})
             select clock_timestamp(), clock_timestamp() - make_interval(secs => {took}), {columns}
               from (values ({})) as row ({columns}) {unless}",
            row.placeholders()
        );
        client.execute(&sql, &row.values()).await.map(drop)
    }

    /// Writes that the step failed. The same failure within an hour gives no second row, because passes come every few seconds.
    pub async fn fail(&self, session: &DdlSession, error: &StoreError) -> Result<(), StoreError> {
        let mut outcome = format!("failed: {error}");
        let cut = (0..=FAILURE_BYTES_MAX.min(outcome.len())).rev().find(|at| outcome.is_char_boundary(*at));
        outcome.truncate(cut.unwrap_or(0));
        let unless = "where not exists (select from ledger l where l.at > now() - interval '1 hour'
                        and (l.step, l.subject, l.outcome) = (row.step, row.subject, row.outcome))";
        let noted = self.insert(&session.client, &outcome, unless).await;
        noted.map_err(StoreError::sql("write", "the ledger"))
    }
}
