//! `cordwood plan`: what retention would do now, and why. The same planner that the operator applies; nothing is changed.

use std::collections::BTreeMap;
use std::io::Write;

use anyhow::Context;
use cordwood_core::retention::class::tables_max;
use cordwood_core::retention::holding::{self, Kept, kept};
use cordwood_core::retention::policy::CHOSEN_BY_PODS;
use cordwood_core::retention::{
    Catalogue, Class, ClassId, Held, LeafState, Plan, Planned, State, Step, Tuning, duration,
};
use cordwood_operator::retention::{Report, kept_tuning, preview};
use cordwood_service::Failure;
use jiff::tz::TimeZone;
use serde_json::{Value, json};

use crate::args::{PlanArgs, TableOrJson};
use crate::database::Database;
use crate::output::columns::{Align, Columns, bytes, grouped};
use crate::output::{ColorChoice, Style};
use crate::standalone::NOTICE_US;
use crate::{Outcome, now_us, query, resources};

pub async fn run(args: PlanArgs, color: ColorChoice) -> Result<Outcome, Failure> {
    let policies = match &args.resources {
        Some(dir) => resources::strict(dir, now_us())?.policies,
        None => {
            let (policies, problems) = resources::of_cluster().await?;
            problems.iter().for_each(|problem| eprintln!("{problem}: planned as the database remembers it"));
            policies
        }
    };
    let now_us = match &args.at {
        Some(when) => when.resolve_us(now_us(), &TimeZone::UTC).context("--at").map_err(Failure::Config)?,
        None => now_us(),
    };
    let database = Database::open(&args.database, false).await?;
    // With the settings of the last pass; before the first one, with the defaults. A folder of resources is what `standalone` follows.
    let of_itself = match &args.resources {
        Some(_) => Tuning::with_notice(NOTICE_US),
        None => Tuning::default(),
    };
    let mut tuning = kept_tuning(&database.store).await.map_err(query::failure)?.unwrap_or(of_itself);
    if args.at.is_some() {
        // Passes are made until then.
        tuning.horizon_step_us = i64::MAX;
    }
    let report = preview(&database.store, &policies, now_us, &tuning).await.map_err(query::failure)?;
    let findings = &report.findings;
    let text = match args.output {
        TableOrJson::Table => {
            let mut text = table(&report, now_us, Style::stdout(color));
            for finding in findings {
                text.push_str(&format!("{}: {}\n", finding.subject, finding.message));
            }
            text
        }
        TableOrJson::Json => {
            let mut value = as_json(&report, now_us);
            value["findings"] = findings
                .iter()
                .map(|finding| json!({"fatal": finding.fatal, "subject": finding.subject, "message": finding.message}))
                .collect();
            format!("{value:#}\n")
        }
    };
    std::io::stdout().write_all(text.as_bytes()).context("write to stdout").map_err(Failure::Run)?;
    Ok(if findings.iter().any(|finding| finding.fatal) { Outcome::Bad } else { Outcome::Done })
}

fn table(report: &Report, now_us: i64, style: Style) -> String {
    let (planned, catalogue) = (&report.plan, &report.catalogue);
    let mut out = String::new();
    if !catalogue.classes.is_empty() {
        out.push_str(&classes(report, now_us).render(style));
        out.push('\n');
    }
    if let Some(limit) = catalogue.lock_slots.map(tables_max) {
        let tables = catalogue.tables();
        out.push_str(&format!(
            "{tables} of {limit} tables of partitions that the server's lock table bears\n\n"
        ));
    }
    if let Some(horizon) = report.horizon.filter(|horizon| horizon.behind_us() > 0) {
        out.push_str(&format!(
            "{} what expires is judged by {}, which follows the clock step by step until about {}\n",
            style.bold("horizon"),
            duration::time(horizon.at_us),
            duration::time(horizon.caught_up_us())
        ));
    }
    for (name, kept, state) in holds(report, now_us) {
        let (amount, expired) = (kept.all, kept.expired);
        let records = amount.records.map_or_else(
            || "records not counted".to_owned(),
            |n| format!("{} records", grouped(n.unsigned_abs())),
        );
        out.push_str(&format!(
            "{} {name} ({state}) keeps {} partitions, {records}, {}; {expired} of them have expired\n",
            style.bold("hold"),
            amount.partitions,
            bytes(amount.bytes.unsigned_abs()),
        ));
    }
    for (policy, warning) in warnings(report) {
        out.push_str(&format!("{} {policy}: {warning}\n", style.bold("warning")));
    }
    for drift in &catalogue.drift {
        out.push_str(&format!("{} {drift}\n", style.bold("drift")));
    }
    if planned.steps.is_empty() && planned.held.is_empty() {
        out.push_str("nothing to do: the partitions are as the policies want them\n");
        return out;
    }
    let (create, take) = (planned.creating().count(), planned.dropping().count());
    let heading = format!(
        "plan {} at {}: {create} to make room, {take} to take away, {} waiting",
        planned.hash(),
        duration::time(now_us),
        planned.held.len()
    );
    out.push_str(&style.bold(&heading));
    out.push('\n');
    let mut columns = Columns::new(&[
        ("STEP", Align::Left),
        ("POLICY", Align::Left),
        ("LEVEL", Align::Left),
        ("WHAT", Align::Left),
        ("RECORDS", Align::Right),
        ("BYTES", Align::Right),
        ("WHY", Align::Left),
    ]);
    for group in groups(&planned.steps) {
        let first = group[0];
        let class =
            first.step.class().and_then(|class| level_of(class, planned, catalogue)).unwrap_or_default();
        let size: i64 = group.iter().map(|planned| planned.bytes).sum();
        let records: Option<i64> = group.iter().map(|planned| planned.records).sum();
        columns.row([
            first.step.kind().to_owned(),
            if first.policy.is_empty() { "-".to_owned() } else { first.policy.clone() },
            class,
            what(&group),
            records.map_or_else(String::new, |records| grouped(records.unsigned_abs())),
            if size > 0 { bytes(size.unsigned_abs()) } else { String::new() },
            first.why.clone(),
        ]);
    }
    if !planned.steps.is_empty() {
        out.push_str(&columns.render(style));
    }
    for (held, more) in held_groups(&planned.held) {
        let more = if more > 0 { format!(" (and {more} more like it)") } else { String::new() };
        out.push_str(&format!("{} {held}{more}\n", style.bold("held")));
    }
    out
}

/// Steps of the same kind for the same class and reason are one line, where the first of them stands.
fn groups(steps: &[Planned]) -> Vec<Vec<&Planned>> {
    let mut groups: Vec<Vec<&Planned>> = Vec::new();
    for step in steps {
        let alike = |group: &&mut Vec<&Planned>| {
            let first = group[0];
            step.step.leaf().is_some()
                && first.step.kind() == step.step.kind()
                && first.step.class() == step.step.class()
                && first.policy == step.policy
                && first.why == step.why
        };
        match groups.iter_mut().find(alike) {
            Some(group) => group.push(step),
            None => groups.push(vec![step]),
        }
    }
    groups
}

/// What waits for the same is told once: of each policy, class and first word (`drop`, `detach`) the one that waits least.
fn held_groups(held: &[Held]) -> Vec<(&Held, usize)> {
    let kind = |held: &Held| held.what.split(' ').next().unwrap_or_default().to_owned();
    let mut groups: Vec<(&Held, usize)> = Vec::new();
    for one in held {
        let alike = |group: &&mut (&Held, usize)| {
            group.0.policy == one.policy && group.0.class == one.class && kind(group.0) == kind(one)
        };
        match groups.iter_mut().find(alike) {
            Some(group) => group.1 += 1,
            None => groups.push((one, 0)),
        }
    }
    groups
}

fn what(group: &[&Planned]) -> String {
    let (first, last) = (&group[0].step, &group[group.len() - 1].step);
    match (first.leaf(), last.leaf()) {
        (Some(a), Some(b)) => {
            let (from_us, to_us) = (a.from_us.min(b.from_us), a.to_us.max(b.to_us));
            let range = format!("{} .. {}", duration::time(from_us), duration::time(to_us));
            match group.len() {
                1 => format!("{} {range}", first.subject()),
                count => format!("{count} partitions {range}"),
            }
        }
        _ => match first {
            Step::PutClass(class) => format!(
                "retention {} grace {}",
                duration::print(class.retention_us),
                duration::print(class.grace_us)
            ),
            Step::PutRoutes(routes) => {
                let names: Vec<&str> = routes.routes().iter().map(|route| route.policy.as_str()).collect();
                names.join(" ")
            }
            Step::PutHold(hold) => hold.what(),
            step => step.subject(),
        },
    }
}

/// A class that the plan itself makes is known from its step.
fn level_of(class: ClassId, planned: &Plan, catalogue: &Catalogue) -> Option<String> {
    let made = planned.steps.iter().find_map(|planned| match &planned.step {
        Step::PutClass(row) if row.id == class => Some(row.level),
        _ => None,
    });
    made.or_else(|| catalogue.class_by_id(class).map(|row| row.level)).map(|level| level.to_string())
}

fn classes(report: &Report, now_us: i64) -> Columns {
    let catalogue = &report.catalogue;
    let mut columns = Columns::new(&[
        ("POLICY", Align::Left),
        ("LEVEL", Align::Left),
        ("STATE", Align::Left),
        ("RETENTION", Align::Right),
        ("PARTITIONS", Align::Right),
        ("DETACHED", Align::Right),
        ("RECORDS", Align::Right),
        ("BYTES", Align::Right),
        ("OLDEST", Align::Left),
        ("OLDEST DUE", Align::Left),
        ("NEWEST", Align::Left),
        ("NEXT EXPIRY", Align::Left),
    ]);
    for class in &catalogue.classes {
        let leaves = catalogue.leaves_of(class.id);
        let attached: Vec<_> = leaves.iter().filter(|leaf| leaf.state == LeafState::Attached).collect();
        let proof = report.proof(class.id);
        let known = |time_us: Option<i64>| time_us.map_or_else(|| "-".to_owned(), duration::time);
        let records = proof.and_then(|proof| proof.records);
        let next =
            attached.iter().filter(|leaf| !leaf.empty).map(|leaf| leaf.to_us + class.retention_us).min();
        columns.row([
            class.policy.clone(),
            class.level.to_string(),
            state(report, class).as_str().to_owned(),
            duration::print(class.retention_us),
            attached.len().to_string(),
            (leaves.len() - attached.len()).to_string(),
            records.map_or_else(|| "-".to_owned(), |records| grouped(records.unsigned_abs())),
            bytes(leaves.iter().map(|leaf| leaf.bytes).sum::<i64>().max(0).unsigned_abs()),
            known(proof.and_then(|proof| proof.oldest_us)),
            known(proof.map(|proof| proof.oldest_due_us)),
            known(proof.and_then(|proof| proof.newest_us)),
            next.map_or_else(
                || "-".to_owned(),
                |next| {
                    if next <= now_us { "now".to_owned() } else { duration::time(next) }
                },
            ),
        ]);
    }
    columns
}

/// The legal holds: whose, what each keeps (or would, where its policy is tried out), and its policy's state.
fn holds(report: &Report, now_us: i64) -> Vec<(&str, Kept, &'static str)> {
    let said = report.policies.iter().filter(|policy| policy.legal_hold);
    let mut all: BTreeMap<&str, &'static str> =
        report.catalogue.holds.iter().map(|hold| (hold.policy.as_str(), "its policy is gone")).collect();
    all.extend(said.map(|policy| {
        let state = if policy.dry_run { "would, its mode is Plan" } else { "in force" };
        (policy.name.as_str(), state)
    }));
    all.into_iter().map(|(name, state)| (name, kept(name, &report.catalogue, now_us), state)).collect()
}

/// What is unwise of a policy, and what to do.
fn warnings(report: &Report) -> Vec<(&str, &'static str)> {
    let chosen = report.policies.iter().filter(|policy| policy.matches.is_chosen_by_pods());
    chosen.map(|policy| (policy.name.as_str(), CHOSEN_BY_PODS)).collect()
}

/// Of a class without a policy, a hold that outlived it.
fn state(report: &Report, class: &Class) -> State {
    let policy = report.policies.iter().find(|policy| policy.name == class.policy);
    let of_class = if class.legal_hold { State::LegalHold } else { State::Active };
    policy.map_or(of_class, |policy| holding::state(policy, &report.catalogue))
}

fn as_json(report: &Report, now_us: i64) -> Value {
    let (planned, catalogue) = (&report.plan, &report.catalogue);
    let steps: Vec<Value> = planned
        .steps
        .iter()
        .map(|planned| {
            json!({
                "kind": planned.step.kind(), "policy": planned.policy, "subject": planned.step.subject(),
                "class": planned.step.class().map(|class| class.0),
                "from": planned.step.leaf().map(|leaf| duration::time(leaf.from_us)),
                "to": planned.step.leaf().map(|leaf| duration::time(leaf.to_us)),
                "bytes": planned.bytes, "records": planned.records, "why": planned.why, "text": planned.step.to_string(),
            })
        })
        .collect();
    let held: Vec<Value> = planned
        .held
        .iter()
        .map(|held| {
            json!({
                "policy": held.policy, "class": held.class.map(|class| class.0), "what": held.what,
                "waits": held.waits.to_string(), "partitions": held.partitions, "bytes": held.bytes,
                "records": held.records,
            })
        })
        .collect();
    let classes: Vec<Value> = catalogue
        .classes
        .iter()
        .map(|class| {
            let leaves = catalogue.leaves_of(class.id);
            let proof = report.proof(class.id);
            json!({
                "class": class.id.0, "policy": class.policy, "level": class.level.to_string(),
                "state": state(report, class).as_str(),
                "retention": duration::print(class.retention_us), "partitions": leaves.len(),
                "bytes": leaves.iter().map(|leaf| leaf.bytes).sum::<i64>(),
                "records": proof.and_then(|proof| proof.records),
                "oldest": proof.and_then(|proof| proof.oldest_us).map(duration::time),
                "oldestDue": proof.map(|proof| duration::time(proof.oldest_due_us)),
                "newest": proof.and_then(|proof| proof.newest_us).map(duration::time),
                "overdue": proof.map(|proof| proof.overdue),
            })
        })
        .collect();
    let warnings: Vec<Value> = warnings(report)
        .into_iter()
        .map(|(policy, message)| json!({"policy": policy, "message": message}))
        .collect();
    let drift: Vec<String> = catalogue.drift.iter().map(ToString::to_string).collect();
    let (tables, tables_max) = (catalogue.tables(), catalogue.lock_slots.map(tables_max));
    let horizon = report.horizon.map(|horizon| duration::time(horizon.judged_us()));
    let holds: Vec<Value> = holds(report, now_us)
        .into_iter()
        .map(|(policy, kept, state)| {
            json!({
                "policy": policy, "state": state, "partitions": kept.all.partitions, "records": kept.all.records,
                "bytes": kept.all.bytes, "expired": kept.expired,
            })
        })
        .collect();
    json!({"plan": planned.hash(), "at": duration::time(now_us), "horizon": horizon, "tables": tables, "tables_max": tables_max, "warnings": warnings, "drift": drift, "holds": holds, "classes": classes, "steps": steps, "held": held})
}
