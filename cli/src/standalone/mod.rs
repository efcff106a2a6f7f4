//! `cordwood standalone`: files, pods or stdin -> agent -> queue -> writer -> PostgreSQL, and retention, in this one process.
//!
//! Promises: lines that PostgreSQL has are not stored twice, and lines that it does not have are read again, however this process ended. A
//! mistake in the resource files changes nothing that is in force.

mod administration;
mod gateway;
mod inputs;
mod lock;
mod parts;
mod policies;
mod report_once;
pub mod retention;
mod sink;
mod spool;
mod status;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use cordwood_agent::config::{FileInput, literal};
use cordwood_service::{Failure, shutdown_signal};
use cordwood_store::scope::{AdminReason, Scope};
use cordwood_store::{audit, migrate};
use tokio_util::sync::CancellationToken;

use crate::args::StandaloneArgs;
use crate::database::Database;
use crate::output::columns::{bytes, counted, grouped};
use crate::output::{ColorChoice, Style, escape};
use crate::{Outcome, logging, now_us, query};
use administration::Fares;
use parts::{End, Own, Parts};
use policies::Policies;
use retention::Retention;
use status::{Idle, StatusLine};

/// Between announcing a shorter retention and its taking effect: who shortens one here looks at the result here.
pub const NOTICE_US: i64 = 5_000_000;
/// The service that the HTTP API's own records are of.
const GATEWAY: &str = "cordwood-gateway";
const TICK: Duration = Duration::from_millis(250);
/// How often spool files that PostgreSQL has are looked for, and an embedded server that has ended.
const CARE_EVERY: Duration = Duration::from_secs(5);

pub async fn run(args: StandaloneArgs, color: ColorChoice) -> Result<Outcome, Failure> {
    logging::init(args.quiet, Style::stderr(color).is_coloured());
    cordwood_agent::raise_descriptor_limit();
    let inputs = inputs::resolve(&args.inputs, args.until_idle).map_err(Failure::Config)?;
    let reads_stdin = args.inputs.iter().any(|input| input == "-");
    if inputs.is_empty() && !reads_stdin && args.pods_dir.is_none() {
        return Err(Failure::Config(anyhow!(
            "nothing to read: name files, '-' for stdin, or --pods-dir (see `cordwood standalone --help`)"
        )));
    }
    let pods_dir = args.pods_dir.as_deref().map(pods_folder).transpose().map_err(Failure::Config)?;
    // Mistakes in the resources are told before anything starts; later ones leave what is in force.
    let mut policies = Policies::read(args.resources.clone(), now_us())?;
    let data_dir = std::path::absolute(args.database.data_dir())
        .context("find the data folder")
        .map_err(Failure::Config)?;
    let quiet = args.quiet;
    let say = move |text: String| {
        if !quiet {
            logging::say(&text);
        }
    };

    let shutdown = shutdown_signal().context("handle signals").map_err(Failure::Run)?;
    let api = gateway::Wanted::of(&args)?;
    let database = Database::open(&args.database, true).await?;
    let _lock = lock::take(&data_dir).map_err(Failure::Run)?;
    migrate::run(&database.store).await.map_err(query::failure)?;
    let place =
        if database.is_embedded() { data_dir.display().to_string() } else { database.store.at().to_owned() };
    say(format!("storing in {place}"));

    let standalone = Standalone {
        style: Style::stderr(color),
        quiet,
        spool: data_dir.clone(),
        stdin_ended: Arc::new(AtomicBool::new(!reads_stdin)),
        name: format!("{}-{}", now_us(), std::process::id()),
        reads_stdin,
        answers: api.is_some(),
        database,
        args,
    };
    let files = standalone.file_inputs(&inputs).map_err(Failure::Run)?;
    let state_dir = standalone.state_dir(&data_dir).await?;
    spool::forget_removed(&data_dir, &state_dir).map_err(Failure::Run)?;
    let before = audit::streams(&standalone.database.store, &Scope::all(AdminReason::Standalone))
        .await
        .map_err(query::failure)?;
    let fares = Fares::default();
    fares.rules(policies.rules());
    let administration = standalone.args.resources.clone().map(|dir| fares.administration(dir));
    let audit_lines = standalone.audit_lines().map_err(Failure::Run)?;
    let own = Own::new();
    let agents = fares.agents();
    let gateway =
        gateway::start(api.zip(audit_lines), &standalone.database.store, &own, administration, agents, &say)
            .await?;
    let rules = policies.rules();
    let parts =
        Parts::start(&standalone.args, &standalone.database.store, state_dir, pods_dir, files, rules, own)
            .await
            .map_err(Failure::Run)?;
    fares.agent(parts.telemetry(), parts.health());
    let every = Duration::from_secs(standalone.args.retention_every);
    let retention = Retention::start(&standalone.database.store, policies.policies(), every, fares.clone());
    let result = standalone.follow(&parts, &mut policies, &retention, &fares, &shutdown).await;
    if let Some(gateway) = gateway {
        gateway.stop().await;
    }
    let end = *result.as_ref().unwrap_or(&End::Interrupted);
    let metrics = parts.metrics();
    let ended = parts.stop(end).await;
    if end == End::Idle {
        // The records say which table partitions there must be: what had none is sealed after the last pass.
        Parts::seal(&standalone.args.seal, &standalone.database.store, &metrics).await;
        retention.finish().await;
        Parts::seal(&standalone.args.seal, &standalone.database.store, &metrics).await;
    } else {
        retention.stop().await;
    }
    standalone.clean_spool(true).await;
    let summary = standalone.summary(&before).await;
    standalone.database.close().await;
    if let (Ok(text), false) = (&summary, standalone.args.quiet) {
        logging::say(text);
    }
    result.and(ended).map_err(Failure::Run)?;
    summary.map_err(query::failure)?;
    Ok(Outcome::Done)
}

/// One standalone process: what its arguments chose, and its database.
struct Standalone {
    args: StandaloneArgs,
    style: Style,
    quiet: bool,
    spool: PathBuf,
    stdin_ended: Arc<AtomicBool>,
    /// The name of this process in its spool files; no other process has it.
    name: String,
    reads_stdin: bool,
    /// The HTTP API runs.
    answers: bool,
    database: Database,
}

impl Standalone {
    /// What the agent reads, spool files of earlier processes included.
    fn file_inputs(&self, inputs: &[inputs::Input]) -> anyhow::Result<Vec<FileInput>> {
        let service = self.args.service.clone().unwrap_or_default();
        let input = |pattern: String, service: String, tenant: String| FileInput {
            paths: vec![pattern],
            service,
            tenant,
            ..FileInput::default()
        };
        let mut files = Vec::new();
        for left in spool::list(&self.spool)? {
            let path = literal(&left.path.display().to_string());
            files.push(input(path, left.label.service, left.label.tenant));
        }
        if self.reads_stdin {
            let process = &self.name;
            let label = spool::Label { tenant: self.args.tenant.clone(), service: service.clone() };
            spool::start(&self.spool, process, &label, Arc::clone(&self.stdin_ended))?;
            let pattern = spool::pattern(&self.spool, spool::Kind::Stdin, process);
            files.push(input(pattern, service.clone(), self.args.tenant.clone()));
        }
        if self.answers {
            let pattern = spool::pattern(&self.spool, spool::Kind::Audit, &self.name);
            files.push(input(pattern, GATEWAY.to_owned(), self.args.tenant.clone()));
        }
        for one in inputs {
            files.push(input(one.pattern.clone(), service.clone(), self.args.tenant.clone()));
        }
        Ok(files)
    }

    /// The file for the gateway's audit records. `None`: the HTTP API does not run.
    fn audit_lines(&self) -> anyhow::Result<Option<spool::Spool>> {
        let label = spool::Label { tenant: self.args.tenant.clone(), service: GATEWAY.to_owned() };
        let begin = || spool::Spool::begin(&self.spool, spool::Kind::Audit, &self.name, &label);
        self.answers.then(begin).transpose()
    }

    /// The agent's checkpoint belongs to this very database: another one has nothing of what was acknowledged here.
    async fn state_dir(&self, data_dir: &Path) -> Result<PathBuf, Failure> {
        let identity = migrate::identity(&self.database.store).await.map_err(query::failure)?;
        let dir = data_dir.join(format!("agent-{identity}"));
        std::fs::create_dir_all(&dir)
            .with_context(|| format!("make the folder {}", dir.display()))
            .map_err(Failure::Run)?;
        Ok(dir)
    }

    /// Until the signal, or until idle when that is wanted, or until a part breaks.
    async fn follow(
        &self,
        parts: &Parts,
        policies: &mut Policies,
        retention: &Retention,
        fares: &Fares,
        shutdown: &CancellationToken,
    ) -> anyhow::Result<End> {
        let mut line = StatusLine::new(self.style, self.quiet);
        let mut idle = Idle::default();
        let idle_after = Duration::from_secs(self.args.idle_after);
        let mut last_care = Instant::now();
        let result = loop {
            if shutdown.run_until_cancelled(tokio::time::sleep(TICK)).await.is_none() {
                break Ok(End::Interrupted);
            }
            if parts.has_broken() {
                break Ok(End::Interrupted);
            }
            let now = Instant::now();
            let moment = parts.moment();
            line.show(now, &moment);
            if policies.reload(now_us()) {
                parts.set_rules(policies.rules());
                fares.rules(policies.rules());
                retention.set(policies.policies());
            }
            if now.duration_since(last_care) >= CARE_EVERY {
                self.database.ensure_running().await;
                self.clean_spool(false).await;
                last_care = now;
            }
            let at_end = self.stdin_ended.load(Ordering::Acquire) && parts.is_ready();
            let quiet_for = idle.for_how_long(now, &moment);
            // What nobody finishes writing (a line without its end) is not waited for, but a little longer.
            let patience =
                if moment.lag_bytes > 0 { idle_after.max(Duration::from_secs(2)) } else { idle_after };
            if self.args.until_idle && at_end && quiet_for >= patience {
                break Ok(End::Idle);
            }
        };
        line.clear();
        result
    }

    /// Removes spool files that PostgreSQL has to their ends; those that are still written to stay.
    async fn clean_spool(&self, has_ended: bool) {
        let Ok(files) = spool::list(&self.spool) else { return };
        if files.is_empty() {
            return;
        }
        let Ok(streams) = audit::streams(&self.database.store, &Scope::all(AdminReason::Standalone)).await
        else {
            return;
        };
        let stdin_ended = self.stdin_ended.load(Ordering::Acquire);
        for (place, file) in files.iter().enumerate() {
            // The last of a kind.
            let is_open = |kind: spool::Kind| {
                let is_of = |file: &spool::Spooled| file.is_of(kind, &self.name);
                is_of(file) && !files[place + 1..].iter().any(is_of)
            };
            let is_written =
                (is_open(spool::Kind::Stdin) && !stdin_ended) || (is_open(spool::Kind::Audit) && !has_ended);
            let path = file.path.display().to_string();
            let size = std::fs::metadata(&file.path).map_or(u64::MAX, |metadata| metadata.len());
            let is_stored =
                size == 0 || streams.iter().any(|stream| stream.path == path && stream.position_end >= size);
            if !is_written && is_stored {
                spool::remove(&file.path);
            }
        }
    }

    async fn summary(&self, before: &[audit::StreamAudit]) -> Result<String, cordwood_store::StoreError> {
        let after = audit::streams(&self.database.store, &Scope::all(AdminReason::Standalone)).await?;
        let sum = |streams: &[audit::StreamAudit]| {
            let mut total = cordwood_store::commit::StreamCounts::default();
            streams.iter().for_each(|stream| total += stream.counts);
            total
        };
        let (was, is) = (sum(before), sum(&after));
        let mut out = format!(
            "{} records of {} stored, {} lines gated, {} duplicates skipped, {} lost",
            grouped(is.records - was.records),
            bytes(is.bytes - was.bytes),
            grouped(is.gated - was.gated),
            grouped(is.duplicates - was.duplicates),
            bytes(is.lost_bytes.saturating_sub(was.lost_bytes)),
        );
        let size = audit::size(&self.database.store).await?;
        out.push_str(&format!(
            "\nin the store: {} records of {} in {}; the database takes {}",
            grouped(is.records),
            bytes(is.bytes),
            counted(audit::count_streams(&after), "stream"),
            bytes(size.database_bytes),
        ));
        if let Some(hint) = self.database.psql_hint() {
            let dir = escape::one_line(&hint).into_owned();
            out.push_str(&format!("\nlook: cordwood query 'level>=warn'   cordwood audit   {dir}"));
        }
        Ok(out)
    }
}

fn pods_folder(dir: &Path) -> anyhow::Result<PathBuf> {
    let dir = dir.canonicalize().with_context(|| format!("--pods-dir {}", dir.display()))?;
    if !dir.is_dir() {
        return Err(anyhow!("--pods-dir {}: not a folder", dir.display()));
    }
    Ok(dir)
}
