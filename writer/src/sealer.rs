//! The task that seals: at an interval it moves fresh blocks into the table partitions of their retention classes. One sealer works per
//! database; those of other writers wait for its lock. It never delays the writer: they share no lock and no transaction.

use std::time::{Duration, Instant};

use cordwood_core::block::{Choices, Format};
use cordwood_store::seal::{Round, SealSession};
use cordwood_store::{Store, StoreError};
use tokio_util::sync::CancellationToken;

use crate::config::SealSettings;
use crate::deadline::within;
use crate::metrics::Metrics;
use crate::placer::RecordPlacer;

const LOOK_EVERY: Duration = Duration::from_millis(500);
const RETRY: Duration = Duration::from_secs(2);
/// Another writer seals: look again after this.
const OTHERS_TURN: Duration = Duration::from_secs(10);
/// So many failed rounds in a row are logged as an error. Readiness does not depend on it: the writer still stores records.
const ALARM_AFTER_FAILURES: u32 = 3;

/// After this time a server (or a proxy before it) that takes bytes and does not answer loses the session, and with it the lock.
const ANSWER_MAX: Duration = Duration::from_secs(60);
/// A round is bounded (`SEAL_ROUND_RECORDS_MAX`) and seals half a million records a second; a slow disk may need a hundred times that.
const ROUND_MAX: Duration = Duration::from_secs(1800);
/// A table partition is created within seconds of being noted; an operator that starts again needs longer.
const WAITS_MAX_US: i64 = 120_000_000;

/// Seals until `shutdown`. PostgreSQL rolls back a round that fails; the next round does the same work.
pub async fn run(store: Store, settings: SealSettings, metrics: Metrics, shutdown: CancellationToken) {
    let mut failures = 0;
    while !shutdown.is_cancelled() {
        let mut pause = RETRY;
        let ended = tokio::select! {
            () = shutdown.cancelled() => return,
            ended = seal_while_ours(&store, &settings, &metrics, &mut failures) => ended,
        };
        if let Ok(()) = ended {
            pause = OTHERS_TURN;
        }
        if let Err(error) = ended {
            metrics.seal_errors.inc();
            failures += 1;
            tracing::warn!(%error, "sealing failed; PostgreSQL rolled it back, and the next round tries again");
            if failures == ALARM_AFTER_FAILURES {
                tracing::error!(%error, "sealing keeps failing: fresh blocks accumulate in the ring tables");
            }
        }
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// Takes the lock if it is free, then seals as long as the session lasts.
async fn seal_while_ours(
    store: &Store,
    settings: &SealSettings,
    metrics: &Metrics,
    failures: &mut u32,
) -> Result<(), StoreError> {
    // After an older version's sealer it first reads what the table partitions hold.
    let Some(mut session) = within(store, ROUND_MAX, SealSession::claim(store)).await? else { return Ok(()) };
    let mut more = false;
    let mut last_round = Instant::now();
    // The session knows nothing of earlier rounds: only after a round of its own may it empty a ring.
    let mut past: Option<u32> = None;
    let mut packing = Packing::of(settings.block_format(), store, &session).await?;
    loop {
        if !more {
            tokio::time::sleep(LOOK_EVERY.min(settings.interval())).await;
        }
        if let Some(xid) = past
            && within(store, ANSWER_MAX, session.is_past(xid)).await?
        {
            let emptied = within(store, ANSWER_MAX, session.truncate()).await?;
            metrics.rings_truncated.inc_by(u64::from(emptied));
            if emptied > 0 {
                past = None;
            }
        }
        let due = more
            || last_round.elapsed() >= settings.interval()
            || within(store, ANSWER_MAX, session.unsealed()).await? >= settings.records_max
            || within(store, ANSWER_MAX, session.room_was_made()).await?;
        if !due {
            continue;
        }
        last_round = Instant::now();
        let round = within(store, ROUND_MAX, seal_once(&mut session, &mut packing, metrics)).await?;
        (past, more) = (Some(round.xid), round.more);
        *failures = 0;
    }
}

/// Seals everything that is fresh, for a caller that is about to end. False: another process seals.
///
/// # Errors
/// PostgreSQL failed; the round that failed has changed nothing.
pub async fn seal_now(store: &Store, format: Option<Format>, metrics: &Metrics) -> Result<bool, StoreError> {
    let Some(mut session) = within(store, ANSWER_MAX, SealSession::claim(store)).await? else {
        return Ok(false);
    };
    let mut packing = Packing::of(format, store, &session).await?;
    // One round in any case: carried records are not counted as unsealed, and their table partition may exist by now.
    let mut before = u64::MAX;
    loop {
        let round = within(store, ROUND_MAX, seal_once(&mut session, &mut packing, metrics)).await?;
        let left = within(store, ANSWER_MAX, session.unsealed()).await?;
        let is_stuck = left >= before && round.records + round.expired == 0;
        if is_stuck || (!round.more && (left == 0 || left >= before)) {
            break;
        }
        before = left;
    }
    Ok(true)
}

/// How blocks are written, round after round.
struct Packing {
    format: Format,
    /// The choices for columns of the rounds before; they are lost with a round that fails.
    choices: Choices,
}

impl Packing {
    /// `None`: in the newest format that the database has.
    async fn of(format: Option<Format>, store: &Store, session: &SealSession) -> Result<Packing, StoreError> {
        let format = match format {
            Some(format) => format,
            None => within(store, ANSWER_MAX, session.newest_format()).await?,
        };
        Ok(Packing { format, choices: Choices::default() })
    }
}

/// One round.
async fn seal_once(
    session: &mut SealSession,
    packing: &mut Packing,
    metrics: &Metrics,
) -> Result<Round, StoreError> {
    session.switch_ring().await?;
    let started = Instant::now();
    let mut placer = RecordPlacer::new(jiff::Timestamp::now().as_microsecond())
        .of_format(packing.format)
        .with_choices(std::mem::take(&mut packing.choices));
    let round = session.round(&mut placer).await?;
    packing.choices = placer.take_choices();
    metrics.seal_seconds.observe(started.elapsed().as_secs_f64());
    metrics.sealed_records.inc_by(round.records);
    metrics.sealed_blocks.inc_by(round.blocks);
    metrics.expired_records.inc_by(round.expired);
    metrics.carried_records.set(round.carried as i64);
    if round.carried > 0 && !round.more {
        let why = placer.why_carried().unwrap_or("as in the rounds before");
        if round.waits_us > WAITS_MAX_US || !placer.has_routes() {
            tracing::error!(
                records = round.carried,
                why,
                "these records have no table partition yet: they wait in the ring tables and can be queried; is the operator running?"
            );
        } else {
            tracing::debug!(records = round.carried, why, "wait until their table partition is created");
        }
    }
    if placer.damaged() > 0 {
        tracing::error!(blocks = placer.damaged(), "fresh blocks are damaged; they stay in the ring tables");
    }
    tracing::debug!(?round, took_ms = started.elapsed().as_millis() as u64, "sealed");
    Ok(round)
}
