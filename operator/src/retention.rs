//! Runs retention without Kubernetes: policies go in, steps are done, a report comes out. The operator's loops and standalone both drive it. Each
//! loop has its own session. A step that fails does not stop the rest of the pass.

use std::collections::{BTreeMap, HashSet};
use std::time::{Duration, Instant};

use cordwood_core::retention::holding::Holding;
use cordwood_core::retention::policy::Policy;
use cordwood_core::retention::step::{Plan, Planned};
use cordwood_core::retention::{
    Catalogue, ClassId, Finding, Horizon, Leaf, LeafRef, Proof, StateChange, Tuning, complete, last_good,
    lint, plan, proofs,
};
use cordwood_core::task::TASK_AGE_MS_DEFAULT;
use cordwood_store::connect::Store;
use cordwood_store::ddl::{DdlSession, Loop, Packed};
use cordwood_store::error::StoreError;
use cordwood_store::prune::prune;
use cordwood_store::tasks::{self, Ended};
use cordwood_store::{catalogue, counting, ddl, horizon, naming, states};

pub use cordwood_core::retention::by_name;

/// Between two looks for tasks that end by age, while there are no more of them.
const END_TASKS_EVERY: Duration = Duration::from_secs(60);
/// Between two looks for what is left over of records that are gone.
const PRUNE_EVERY: Duration = Duration::from_secs(3600);

/// What one pass saw and did.
#[derive(Debug, Default)]
pub struct Report {
    /// The policies that were planned for: one that could not be read is as the database remembers it.
    pub policies: Vec<Policy>,
    /// As read before anything was done.
    pub catalogue: Catalogue,
    pub plan: Plan,
    /// Laws that the plan would break. With a fatal one nothing was detached or dropped.
    pub findings: Vec<Finding>,
    /// Steps that were done, in order.
    pub done: Vec<Planned>,
    /// Steps that failed, and why; the next pass plans them again.
    pub failed: Vec<(Planned, String)>,
    /// What each class keeps, before anything was done.
    pub proofs: Vec<Proof>,
    /// What the plan goes by. `None`: nothing was planned.
    pub horizon: Option<Horizon>,
    /// Leaves that a legal hold of any policy finds records in.
    pub held: HashSet<LeafRef>,
    /// The settings that it was planned with.
    pub tuning: Tuning,
    /// Tasks that ended by age.
    pub ended: Ended,
    /// Indexes of table partitions whose time is over.
    pub packed: Packed,
    /// Policies whose records are kept by something else than before.
    pub states: Vec<StateChange>,
}

impl Report {
    /// The plan for what was read; nothing is done yet.
    fn planned(policies: &[Policy], catalogue: Catalogue, now_us: i64, tuning: &Tuning) -> Report {
        let proofs = proofs(&catalogue, now_us);
        let policies = complete(policies, &catalogue);
        let plan = plan(&policies, &catalogue, now_us, tuning);
        let findings = lint(&plan, &policies, &catalogue, now_us, tuning);
        let horizon = Some(Horizon::next(catalogue.horizon, now_us, tuning.horizon_step_us));
        let holding = Holding::of(&policies, &catalogue);
        let keys = catalogue.leaves.iter().map(Leaf::key);
        let held = keys.filter(|leaf| holding.by(*leaf).is_some()).collect();
        let tuning = *tuning;
        Report { policies, plan, findings, proofs, horizon, held, tuning, catalogue, ..Report::default() }
    }

    pub fn proof(&self, class: ClassId) -> Option<&Proof> {
        self.proofs.iter().find(|proof| proof.class == class)
    }

    /// The reason why nothing may be dropped, if a law would be broken.
    pub fn refused(&self) -> Option<&Finding> {
        self.findings.iter().find(|finding| finding.fatal)
    }
}

/// Why a pass could not be.
#[derive(Debug, thiserror::Error)]
pub enum PassError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(
        "another session holds the advisory lock of the {0} loop: another operator (or `cordwood standalone`) is at work on this database"
    )]
    Locked(&'static str),
}

/// One loop of retention on its own session, which lives as long as it works.
#[derive(Debug)]
pub struct Passes {
    store: Store,
    which: Loop,
    session: Option<DdlSession>,
    pruned: Option<Instant>,
    /// Tasks that had no line for so long go; `None`: none does.
    task_age_ms: Option<u64>,
    tasks_ended: Option<Instant>,
}

impl Passes {
    pub fn new(store: Store, which: Loop) -> Passes {
        Passes { store, which, session: None, pruned: None, task_age_ms: None, tasks_ended: None }
    }

    /// The dropping loop ends tasks, too, so long after their last line; 0: never.
    pub fn ending_tasks(self, age_ms: u64) -> Passes {
        Passes { task_age_ms: (age_ms > 0).then_some(age_ms), ..self }
    }

    /// Gives up the session and with it the advisory lock.
    pub fn stop(&mut self) {
        self.session = None;
    }

    async fn session(&mut self) -> Result<&mut DdlSession, PassError> {
        if self.session.as_ref().is_none_or(DdlSession::is_closed) {
            self.session = None;
            let opened = DdlSession::open(&self.store, self.which).await?;
            self.session = Some(opened.ok_or(PassError::Locked(self.which.as_str()))?);
        }
        self.session.as_mut().ok_or(PassError::Locked(self.which.as_str()))
    }

    /// Reads and plans; does nothing.
    pub async fn look(
        &mut self,
        policies: &[Policy],
        now_us: i64,
        tuning: &Tuning,
    ) -> Result<Report, PassError> {
        let session = self.session().await?;
        let catalogue = catalogue::look_for(session.client(), policies).await?;
        Ok(Report::planned(policies, catalogue, now_us, tuning))
    }

    /// PostgreSQL's time, microseconds: what expires is judged by the clock that stamped when it was detached.
    pub async fn clock(&mut self) -> Result<i64, PassError> {
        let now = self.session().await?.clock().await;
        if let Err(StoreError::ReadOnly { .. }) = now {
            // The address may lead to a primary by now.
            self.stop();
        }
        Ok(now?)
    }

    /// Does the steps of `report` that belong to this loop and that `may` allows, asked before each. The ledger names each
    /// by the hash of its policy's part of the plan, as the policy's status does. The dropping loop keeps the horizon that the plan
    /// goes by, and tells the ledger what keeps each policy's records.
    pub async fn apply(
        &mut self,
        report: &mut Report,
        may: impl Fn(&Planned) -> bool,
    ) -> Result<(), PassError> {
        if self.which == Loop::Drop {
            // Before anything of it goes.
            let session = self.session().await?;
            report.states = states::keep(session, &report.policies, &report.catalogue).await?;
        }
        if self.which == Loop::Drop
            && let Some(kept) = report.horizon
        {
            horizon::keep(self.session().await?, kept).await?;
            horizon::note_tuning(self.session().await?, &report.tuning).await?;
        }
        if self.which == Loop::Drop && report.refused().is_some() {
            return Ok(());
        }
        let mut hashes: BTreeMap<String, String> = BTreeMap::new();
        let creates = self.which == Loop::Create;
        let steps: Vec<Planned> =
            report.plan.steps.iter().filter(|planned| planned.step.creates() == creates).cloned().collect();
        let session = self.session().await?;
        let mut failed: HashSet<ClassId> = HashSet::new();
        let mut grown: HashSet<ClassId> = HashSet::new();
        for planned in steps {
            if !may(&planned) || planned.step.class().is_some_and(|class| failed.contains(&class)) {
                continue;
            }
            let hash = hashes
                .entry(planned.policy.clone())
                .or_insert_with(|| report.plan.part(&planned.policy).hash());
            match ddl::apply(session, &planned, hash).await {
                Ok(()) => {
                    tracing::info!(step = %planned.step, why = planned.why, "retention step done");
                    grown.extend(planned.step.leaf().map(|leaf| leaf.class));
                    report.done.push(planned);
                }
                Err(error) => {
                    // What follows in the class may need it: the next pass plans again.
                    failed.extend(planned.step.class());
                    tracing::warn!(step = %planned.step, %error, "retention step failed; the next pass tries again");
                    report.failed.push((planned, error.to_string()));
                    if session.is_closed() {
                        break;
                    }
                }
            }
        }
        // The statistics of a partitioned table are kept by nobody else. Not being able to is no failure.
        for class in grown {
            if creates && let Err(error) = ddl::analyze(session, class).await {
                tracing::debug!(class = class.0, %error, "analyze the class's table");
            }
        }
        if creates {
            self.make_indexes().await?;
        } else {
            self.count().await?;
            report.ended = self.end_tasks().await?;
            report.packed = self.pack_indexes().await?;
        }
        if !creates && self.pruned.is_none_or(|at| at.elapsed() >= PRUNE_EVERY) {
            self.pruned = Some(Instant::now());
            self.prune().await?;
        }
        Ok(())
    }

    /// Beside partitions that an older version made. Being unable to is no failure of the pass.
    async fn make_indexes(&mut self) -> Result<(), PassError> {
        match ddl::make_indexes(self.session().await?).await {
            Ok(0) => {}
            Ok(tables) => tracing::info!(tables, "made tables for the indexes of table partitions"),
            Err(error) => tracing::warn!(%error, "make tables for indexes; the next pass tries again"),
        }
        Ok(())
    }

    /// Of table partitions whose time is over. Being unable to is no failure of the pass.
    async fn pack_indexes(&mut self) -> Result<Packed, PassError> {
        let packed =
            ddl::pack_indexes(self.session().await?, jiff::Timestamp::now()).await.unwrap_or_else(|error| {
                tracing::warn!(%error, "pack the indexes of table partitions; the next pass tries again");
                Packed::default()
            });
        if let Packed { tables: 1.., .. } = packed {
            let Packed { tables, bytes_before, bytes_after } = packed;
            tracing::info!(tables, bytes_before, bytes_after, "packed the indexes of table partitions");
        }
        Ok(packed)
    }

    /// The records of partitions that an older version sealed into, and whose they are. Being unable to is no failure of the pass.
    async fn count(&mut self) -> Result<(), PassError> {
        match counting::count(self.session().await?).await {
            Ok(0) => {}
            Ok(partitions) => tracing::info!(partitions, "counted the records of table partitions"),
            Err(error) => tracing::warn!(%error, "count records; the next pass tries again"),
        }
        match naming::name(self.session().await?).await {
            Ok(0) => {}
            Ok(partitions) => tracing::info!(partitions, "noted whose the records of table partitions are"),
            Err(error) => tracing::warn!(%error, "note whose records there are; the next pass tries again"),
        }
        Ok(())
    }

    /// Being unable to is no failure of the pass: a writer's long transaction is in the way for a moment.
    async fn end_tasks(&mut self) -> Result<Ended, PassError> {
        let Some(age_ms) = self.task_age_ms else { return Ok(Ended::default()) };
        if self.tasks_ended.is_some_and(|at| at.elapsed() < END_TASKS_EVERY) {
            return Ok(Ended::default());
        }
        match tasks::end_aged(self.session().await?, age_ms).await {
            Ok(ended) => {
                self.tasks_ended = (!ended.more).then(Instant::now);
                if ended != Ended::default() {
                    tracing::info!(tasks = ended.tasks, lines = ended.lines, "tasks ended by age");
                }
                Ok(ended)
            }
            Err(error) => {
                tracing::warn!(%error, "end tasks by age; the next pass tries again");
                Ok(Ended::default())
            }
        }
    }

    /// What was counted of records that are gone. Being unable to is no failure of the pass.
    async fn prune(&mut self) -> Result<(), PassError> {
        match prune(self.session().await?).await {
            Ok(0) => {}
            Ok(rows) => {
                tracing::info!(
                    rows,
                    "pruned: counts, losses and dead letters of records that are gone, watermarks of files that are gone"
                )
            }
            Err(error) => {
                tracing::warn!(%error, "prune what was counted of records that are gone; tried again")
            }
        }
        Ok(())
    }
}

/// All policies that the database remembers: what is in force while the API server cannot be asked.
pub async fn remembered(store: &Store) -> Result<Vec<Policy>, StoreError> {
    let client = store.pooled().await?;
    let catalogue = catalogue::read(&*client).await?;
    let names = catalogue.routes.iter().flat_map(|routes| routes.routes()).map(|route| route.policy.clone());
    Ok(names.collect::<Vec<_>>().iter().filter_map(|name| last_good(name, &catalogue)).collect())
}

/// Both loops once, one after the other: a whole pass for a program of one process. Sessions are kept between passes.
#[derive(Debug)]
pub struct Standalone {
    create: Passes,
    drop: Passes,
    tuning: Tuning,
}

impl Standalone {
    pub fn new(store: &Store, tuning: Tuning) -> Standalone {
        Standalone {
            create: Passes::new(store.clone(), Loop::Create),
            drop: Passes::new(store.clone(), Loop::Drop).ending_tasks(TASK_AGE_MS_DEFAULT),
            tuning,
        }
    }

    /// Creates, then drops. The report's plan is that of the dropping half; `done` and `failed` are of both.
    pub async fn pass(&mut self, policies: &[Policy]) -> Result<Report, PassError> {
        let now_us = self.create.clock().await?;
        let mut created = self.create.look(policies, now_us, &self.tuning).await?;
        self.create.apply(&mut created, |_| true).await?;
        let now_us = self.drop.clock().await?;
        let mut report = self.drop.look(policies, now_us, &self.tuning).await?;
        self.drop.apply(&mut report, |_| true).await?;
        report.done.splice(0..0, created.done);
        report.failed.splice(0..0, created.failed);
        Ok(report)
    }
}

/// The settings of the last pass on this database; `None`: there was no pass, or an older version made it.
pub async fn kept_tuning(store: &Store) -> Result<Option<Tuning>, StoreError> {
    horizon::tuning(&*store.pooled().await?).await
}

/// What a pass would do now; takes no lock and changes nothing.
pub async fn preview(
    store: &Store,
    policies: &[Policy],
    now_us: i64,
    tuning: &Tuning,
) -> Result<Report, StoreError> {
    let client = store.pooled().await?;
    let catalogue = catalogue::look_for(&*client, policies).await?;
    Ok(Report::planned(policies, catalogue, now_us, tuning))
}
