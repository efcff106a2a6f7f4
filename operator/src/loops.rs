//! The two retention loops of the operator: one creates table partitions, one drops them. Creating never waits for dropping.
//!
//! A plan's dropping steps are done only when the status of their policy shows that plan: a person can see it first. While the
//! API server is unavailable, partitions are still created by the policies that the database remembers, and nothing is dropped.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use cordwood_core::retention::policy::Policy;
use cordwood_core::retention::step::Planned;
use cordwood_core::retention::{Horizon, Tuning, duration};
use cordwood_crds::LogRetentionPolicy;
use cordwood_service::Health;
use cordwood_store::connect::Store;
use cordwood_store::ddl::Loop;
use cordwood_store::error::StoreError;
use cordwood_store::migrate;
use jiff::Timestamp;
use kube::{Resource as _, ResourceExt as _};
use serde_json::{Value, json};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::leader::Standing;
use crate::publish::{POLICY, Publisher, Seen};
use crate::retention::{PassError, Passes, Report, by_name, remembered};
use crate::telemetry::Telemetry;
use crate::watched::{Watched, is_same_spec};

/// What both loops share.
pub struct RetentionLoops {
    pub config: Config,
    pub store: Store,
    pub health: Health,
    pub telemetry: Telemetry,
    pub publisher: Arc<Publisher>,
    pub policies: Watched<LogRetentionPolicy>,
    pub standing: watch::Receiver<Standing>,
    /// The last spec of each policy that could be followed.
    pub last_good: Mutex<BTreeMap<String, Policy>>,
    /// Wakes the creating loop.
    pub create: Notify,
    /// Wakes the dropping loop.
    pub drop: Notify,
    /// The last plan of the dropping loop, for `/status`.
    pub shown: Mutex<Value>,
}

/// How long a pass may take to tell what it did, while the API server does not answer. The next pass of the dropping loop tells
/// it again.
const TELL_MAX: Duration = Duration::from_secs(15);

/// Between two looks whether an administrator has made the roles that were missing.
const RIGHTS_EVERY: Duration = Duration::from_secs(10);

/// The skew is nothing that a follower judges, nor are statuses what it writes.
const OF_THE_LEADER: [&str; 4] = ["clock", "horizon", "status", "database drop"];

/// Policies as read from the API server: the objects with their problems, and what follows from them.
struct Picture {
    seen: Vec<Seen>,
    policies: Vec<Policy>,
}

impl Picture {
    fn resource(&self, name: &str) -> Option<&LogRetentionPolicy> {
        self.seen.iter().map(|(resource, _)| resource).find(|resource| resource.name_any() == name)
    }
}

impl RetentionLoops {
    fn tuning(&self) -> Tuning {
        let us = |ms: u64| i64::try_from(ms).unwrap_or(i64::MAX / 1000).saturating_mul(1000);
        let settings = &self.config.retention;
        Tuning { notice_us: us(settings.notice_ms), horizon_step_us: us(settings.horizon_step_ms_max) }
    }

    fn interval(&self) -> Duration {
        Duration::from_millis(self.config.retention.pass_interval_ms)
    }

    /// `None` before the first list.
    fn picture(&self) -> Option<Picture> {
        let mut last_good = self.last_good.lock().unwrap_or_else(PoisonError::into_inner);
        let mut picture = Picture { seen: Vec::new(), policies: Vec::new() };
        for read in self.policies.all()? {
            let policy = read.follow(LogRetentionPolicy::to_policy);
            let resource = read.object;
            let name = resource.name_any();
            let problems = match policy {
                Ok(policy) => {
                    last_good.insert(name, policy.clone());
                    picture.policies.push(policy);
                    Vec::new()
                }
                Err(problems) => {
                    let uid = resource.uid().unwrap_or_default();
                    let known = last_good.get(&name).cloned();
                    picture.policies.push(known.unwrap_or_else(|| by_name(&name, &uid)));
                    problems
                }
            };
            picture.seen.push((resource, problems));
        }
        last_good.retain(|name, _| picture.policies.iter().any(|policy| policy.name == *name));
        Some(picture)
    }

    /// Migrates when PostgreSQL is first reached, then makes what is missing: on each change, and now and then.
    pub async fn create_loop(self: Arc<Self>, shutdown: CancellationToken) {
        let mut passes = Passes::new(self.store.clone(), Loop::Create);
        let (mut changes, mut standing) = (self.policies.clone(), self.standing.clone());
        let heartbeat = self.health.heartbeat("create loop", Duration::from_secs(300));
        let mut migrated = false;
        // Roles that an administrator makes later get their rights then.
        let mut rights_at = None;
        while !shutdown.is_cancelled() {
            heartbeat.beat();
            let leads = *standing.borrow_and_update() != Standing::Follower;
            if rights_at.is_some_and(|at| at <= Instant::now()) {
                migrated = false;
            }
            let result = if !migrated {
                self.migrate(&mut rights_at).await.map(|()| migrated = true)
            } else if leads {
                self.create_pass(&mut passes, &changes).await
            } else {
                passes.stop();
                self.store.pooled().await.map(|_| ()).map_err(PassError::from)
            };
            if let Err(PassError::Store(error)) = &result
                && error.code().is_some_and(|code| ["42P01", "42703"].contains(&code.code()))
            {
                // A failover, or a backup that was restored, took the database back to an older schema.
                migrated = false;
            }
            let again = self.note("create", &result);
            let pause = if again { self.interval() } else { Duration::from_secs(2).min(self.interval()) };
            tokio::select! {
                () = shutdown.cancelled() => break,
                () = changes.changed() => {}
                _ = standing.changed() => {}
                () = self.create.notified() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// `rights_at`: when to see again to what roles may do, if something is missing.
    async fn migrate(&self, rights_at: &mut Option<Instant>) -> Result<(), PassError> {
        let done = migrate::run(&self.store).await?;
        for warning in done.warnings.iter().filter(|_| rights_at.is_none()) {
            tracing::warn!(warning, "roles and grants are incomplete");
        }
        if done.warnings.is_empty() && rights_at.is_some() {
            tracing::info!("roles and grants are complete");
        }
        *rights_at = (!done.warnings.is_empty()).then(|| Instant::now() + RIGHTS_EVERY);
        if !done.applied.is_empty() {
            tracing::info!(applied = done.applied.join(", "), "schema migrated");
        }
        Ok(())
    }

    /// `changes`: a policy that changes meanwhile is not kept waiting by leaves that
    /// are not needed at this moment; the next pass makes them.
    async fn create_pass(
        &self,
        passes: &mut Passes,
        changes: &Watched<LogRetentionPolicy>,
    ) -> Result<(), PassError> {
        let picture = self.picture();
        let policies = match &picture {
            Some(picture) => picture.policies.clone(),
            // The API server has not answered yet. What the database remembers goes on; nothing is taken away.
            None => match remembered(&self.store).await? {
                policies if policies.is_empty() => return Ok(()),
                policies => policies,
            },
        };
        let timer = self.telemetry.pass("create");
        let now_us = passes.clock().await?;
        let mut report = passes.look(&policies, now_us, &self.tuning()).await?;
        self.telemetry.catalogue(&report, now_us);
        let for_later = |planned: &Planned| {
            planned.step.leaf().is_some_and(|leaf| leaf.to_us <= now_us || leaf.from_us > now_us)
        };
        passes.apply(&mut report, |planned| !(for_later(planned) && changes.has_changed())).await?;
        timer.stop();
        self.telemetry.steps(&report);
        if report.done.is_empty() && report.failed.is_empty() {
            return Ok(());
        }
        let Some(picture) = picture else { return Ok(()) };
        let done = !report.done.is_empty();
        let now_us = passes.clock().await?;
        let mut after = passes.look(&policies, now_us, &self.tuning()).await?;
        self.tell(&picture.seen, &report, &mut after, now_us).await;
        // What only failed changed nothing for the other loop: two loops that fail would drive each other without a pause.
        if done {
            self.drop.notify_one();
        }
        Ok(())
    }

    /// Shows the plan, then takes away what it says: only as the leader, only with all policies known, only with a clock
    /// that PostgreSQL agrees with.
    pub async fn drop_loop(self: Arc<Self>, shutdown: CancellationToken) {
        let mut passes =
            Passes::new(self.store.clone(), Loop::Drop).ending_tasks(self.config.retention.task_age_ms_max);
        let mut standing = self.standing.clone();
        let heartbeat = self.health.heartbeat("drop loop", Duration::from_secs(900));
        while !shutdown.is_cancelled() {
            heartbeat.beat();
            let standing_now = *standing.borrow_and_update();
            let leads = standing_now == Standing::Leader;
            let mut result = Ok(());
            if leads && let Some(picture) = self.picture() {
                result = self.drop_pass(&mut passes, &picture).await;
                self.note("drop", &result);
                // A table that is locked for a moment is no PostgreSQL that is away.
                if let Err(PassError::Store(error)) = &result
                    && error.code().is_none_or(|code| code.code() != "55P03")
                {
                    let why = explain(error, self.store.user());
                    let reason = match error {
                        StoreError::ReadOnly { .. } => "DatabaseReadOnly",
                        _ => "DatabaseUnavailable",
                    };
                    self.publisher.unavailable(&picture.seen, (reason, &why), now_us()).await;
                }
            } else if !leads {
                passes.stop();
                self.publisher.conditions.show(POLICY, []);
                if standing_now == Standing::Follower {
                    OF_THE_LEADER.iter().for_each(|condition| self.health.set(condition, Ok(())));
                }
            }
            let pause =
                if result.is_ok() { self.interval() } else { Duration::from_secs(2).min(self.interval()) };
            tokio::select! {
                () = shutdown.cancelled() => break,
                _ = standing.changed() => {}
                () = self.drop.notified() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    async fn drop_pass(&self, passes: &mut Passes, picture: &Picture) -> Result<(), PassError> {
        let timer = self.telemetry.pass("drop");
        let now = passes.clock().await?;
        let skew_us = (now - now_us()).abs();
        let mut report = passes.look(&picture.policies, now, &self.tuning()).await?;
        for finding in &report.findings {
            tracing::error!(subject = finding.subject, fatal = finding.fatal, "{}", finding.message);
        }
        let shown = self.publisher.policies(&picture.seen, &report, now).await;
        self.show(&report);
        let skewed = skew_us
            > i64::try_from(self.config.retention.clock_skew_ms_max).unwrap_or(i64::MAX / 1000) * 1000;
        self.health.set(
            "clock",
            if skewed {
                let message = "this clock and PostgreSQL's differ by";
                Err(format!("{message} {} s: nothing is dropped until they agree", skew_us / 1_000_000))
            } else {
                Ok(())
            },
        );
        self.health.set("horizon", behind(report.horizon));
        if skewed {
            return Ok(());
        }
        // A policy without a resource (the built-in one, a deleted one) has no status to show the plan in. A watch that has
        // broken off knows nothing of what was made since: the API server is asked. And a pass can last a while: what was
        // edited, made or deleted meanwhile is planned again, before anything more of it goes.
        let taken_from = report.plan.dropping().map(|planned| planned.policy.as_str()).collect();
        let same = self.publisher.still_as_seen(&picture.seen, taken_from).await;
        let may = |planned: &Planned| {
            let now = self.policies.get("", &planned.policy);
            match (picture.resource(&planned.policy), now) {
                (Some(seen), Some(now)) => {
                    shown.contains(&planned.policy) && is_same_spec(seen.meta(), now.meta())
                }
                (None, None) => true,
                _ => false,
            }
        };
        let may = |planned: &Planned| same.contains(&planned.policy) && may(planned);
        passes.apply(&mut report, may).await?;
        timer.stop();
        self.telemetry.steps(&report);
        if report.done.is_empty() && report.failed.is_empty() && report.states.is_empty() {
            return Ok(());
        }
        let done = !report.done.is_empty();
        let now = passes.clock().await?;
        let mut after = passes.look(&picture.policies, now, &self.tuning()).await?;
        self.tell(&picture.seen, &report, &mut after, now).await;
        self.show(&after);
        if done {
            self.create.notify_one();
        }
        Ok(())
    }

    /// Tells what was done in `report`, and how things are `after` it. No pass waits long for an API server.
    async fn tell(&self, seen: &[Seen], report: &Report, after: &mut Report, now_us: i64) {
        after.failed.clone_from(&report.failed);
        let telling = async {
            self.publisher.done(seen, report).await;
            self.publisher.policies(seen, after, now_us).await;
        };
        if tokio::time::timeout(TELL_MAX, telling).await.is_err() {
            tracing::warn!("the API server does not answer: what was done is told later");
        }
    }

    fn show(&self, report: &Report) {
        let lines = |text: String| text.lines().map(str::to_owned).collect::<Vec<_>>();
        let findings: Vec<String> = report
            .findings
            .iter()
            .map(|finding| format!("{}: {}", finding.subject, finding.message))
            .collect();
        *self.shown.lock().unwrap_or_else(PoisonError::into_inner) = json!({
            "plan_hash": report.plan.hash(),
            "plan": lines(report.plan.to_string()),
            "findings": findings,
            "classes": report.catalogue.classes.len(),
            "partitions": report.catalogue.leaves.len(),
        });
    }

    /// Turns a pass's result into a condition; whether the pass was a good one.
    fn note(&self, which: &'static str, result: &Result<(), PassError>) -> bool {
        let condition = if which == "create" { "database create" } else { "database drop" };
        match result {
            Ok(()) => {
                self.health.set(condition, Ok(()));
                true
            }
            Err(error) => {
                self.telemetry.pass_failed(which);
                let text = match error {
                    PassError::Store(error) => explain(error, self.store.user()),
                    locked @ PassError::Locked(_) => locked.to_string(),
                };
                self.health.set(condition, Err(text));
                false
            }
        }
    }
}

/// Names the right that a role lacks.
fn explain(error: &StoreError, role: &str) -> String {
    match error.code() {
        Some(code) if code.code() == "42501" => format!(
            "missing permission: role \"{role}\" must own the database and Cordwood's tables ({error})"
        ),
        _ => error.to_string(),
    }
}

/// Whether retention goes by PostgreSQL's clock as it is.
fn behind(horizon: Option<Horizon>) -> Result<(), String> {
    let Some(horizon) = horizon.filter(|horizon| horizon.behind_us() > 0) else { return Ok(()) };
    Err(format!(
        "PostgreSQL's clock jumped, or no pass was made for long: expiry goes by {} and follows the clock step by step until about {}",
        duration::time(horizon.at_us),
        duration::time(horizon.caught_up_us())
    ))
}

pub(crate) fn now_us() -> i64 {
    Timestamp::now().as_microsecond()
}
