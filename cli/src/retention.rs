//! `cordwood retention report`: what retention keeps of each policy and what it took away, when, and under whose approval. For an
//! auditor: it reads the database alone and changes nothing.

use std::collections::BTreeMap;
use std::io::Write;

use anyhow::Context;
use cordwood_core::entry::timestamp;
use cordwood_core::retention::holding::{Kept, kept};
use cordwood_core::retention::{
    Catalogue, Class, Hold, LeafState, PolicyLevel, Proof, State, duration, proofs,
};
use cordwood_service::Failure;
use cordwood_store::ledger::{Entry, history};
use cordwood_store::{StoreError, catalogue, states};
use jiff::tz::TimeZone;
use serde_json::{Value, json};

use crate::args::{ReportArgs, ReportFormat};
use crate::database::Database;
use crate::output::columns::{Align, Columns, bytes, grouped};
use crate::output::{ColorChoice, Style, csv};
use crate::{Outcome, now_us, query};

pub async fn report(args: ReportArgs, color: ColorChoice) -> Result<Outcome, Failure> {
    let since_us = match &args.since {
        Some(when) => {
            Some(when.resolve_us(now_us(), &TimeZone::UTC).context("--since").map_err(Failure::Config)?)
        }
        None => None,
    };
    let database = Database::open(&args.database, false).await?;
    let read = Report::read(&database, args.policy.as_deref(), since_us).await;
    let report = read.map_err(query::failure)?;
    let text = match args.output {
        ReportFormat::Table => report.table(Style::stdout(color)),
        ReportFormat::Json => format!("{:#}\n", report.json()),
        ReportFormat::Csv => report.csv(),
    };
    std::io::stdout().write_all(text.as_bytes()).context("write to stdout").map_err(Failure::Run)?;
    Ok(Outcome::Done)
}

struct Report {
    at_us: i64,
    since_us: Option<i64>,
    catalogue: Catalogue,
    kept: Vec<Proof>,
    /// Of the policies that there are.
    states: BTreeMap<String, State>,
    /// The legal holds by match, and what each keeps.
    holds: Vec<(Hold, Kept)>,
    history: Vec<Entry>,
}

impl Report {
    async fn read(
        database: &Database,
        policy: Option<&str>,
        since_us: Option<i64>,
    ) -> Result<Report, StoreError> {
        let client = database.store.pooled().await?;
        let at_us = catalogue::clock(&*client).await?;
        let mut catalogue = catalogue::look(&*client).await?;
        let states = states::read(&*client).await?;
        let asked = |name: &str| policy.is_none_or(|policy| policy == name);
        let holds = catalogue.holds.iter().filter(|hold| asked(&hold.policy));
        let holds = holds.map(|hold| (hold.clone(), kept(&hold.policy, &catalogue, at_us))).collect();
        if let Some(policy) = policy {
            catalogue.classes.retain(|class| class.policy == policy);
        }
        let proofs = proofs(&catalogue, at_us);
        let history = history(&database.store, policy, since_us).await?;
        Ok(Report { at_us, since_us, catalogue, kept: proofs, states, holds, history })
    }

    /// Classes by policy and level, each with what it keeps.
    fn classes(&self) -> Vec<(&Class, &Proof)> {
        let of = |class| self.kept.iter().find(|proof| proof.class == class);
        let classes = self.catalogue.classes.iter();
        let mut rows: Vec<(&Class, &Proof)> =
            classes.filter_map(|class| Some((class, of(class.id)?))).collect();
        rows.sort_by_key(|(class, _)| (class.policy.as_str(), class.level));
        rows
    }

    /// What keeps the records of a class. A class without a policy has a hold that outlived it, or none.
    fn state(&self, class: &Class) -> &'static str {
        match self.states.get(&class.policy) {
            _ if class.legal_hold => State::LegalHold.as_str(),
            Some(state) => state.as_str(),
            None => "NoPolicy",
        }
    }

    fn drops(&self) -> impl Iterator<Item = &Entry> {
        self.history.iter().filter(|entry| entry.is_drop())
    }

    fn changes(&self) -> impl Iterator<Item = &Entry> {
        self.history.iter().filter(|entry| !entry.is_drop())
    }

    fn table(&self, style: Style) -> String {
        let mut out = format!("retention report of {}", timestamp(self.at_us));
        if let Some(since_us) = self.since_us {
            out.push_str(&format!(", what was done since {}", timestamp(since_us)));
        }
        out.push_str(&format!("\n\n{}\n{}", style.bold("kept"), self.kept_table().render(style)));
        if !self.holds.is_empty() {
            out.push_str(&format!("\n{}\n{}", style.bold("legal holds"), self.holds_table().render(style)));
        }
        if self.history.is_empty() {
            out.push_str("\nnothing was taken away, and no retention changed\n");
            return out;
        }
        out.push_str(&format!("\n{}\n{}", style.bold("dropped, in all"), self.sums_table().render(style)));
        let mut dropped = Columns::new(&[
            ("DROPPED", Align::Left),
            ("POLICY", Align::Left),
            ("LEVEL", Align::Left),
            ("FROM", Align::Left),
            ("TO", Align::Left),
            ("RECORDS", Align::Right),
            ("BYTES", Align::Right),
            ("YOUNGEST", Align::Right),
            ("APPROVAL", Align::Left),
        ]);
        for entry in self.drops() {
            dropped.row([
                duration::time(entry.at_us),
                entry.policy.clone(),
                level(entry.level),
                entry.bounds_us.map_or_else(dash, |(from_us, _)| duration::time(from_us)),
                entry.bounds_us.map_or_else(dash, |(_, to_us)| duration::time(to_us)),
                entry.records.map_or_else(dash, number),
                bytes(entry.bytes.unsigned_abs()),
                age_us(entry).map_or_else(dash, |us| duration::print(whole_minutes(us))),
                approval(entry),
            ]);
        }
        if self.drops().next().is_some() {
            out.push_str(&format!("\n{}\n{}", style.bold("dropped, each"), dropped.render(style)));
        }
        let mut changed = Columns::new(&[
            ("CHANGED", Align::Left),
            ("POLICY", Align::Left),
            ("LEVEL", Align::Left),
            ("WHAT", Align::Left),
            ("WHY", Align::Left),
            ("APPROVAL", Align::Left),
        ]);
        for entry in self.changes() {
            let what = if entry.class.is_some() {
                entry.step.clone()
            } else {
                format!("{} {}", entry.step, entry.subject)
            };
            changed.row([
                duration::time(entry.at_us),
                entry.policy.clone(),
                level(entry.level),
                what,
                entry.why.clone(),
                approval(entry),
            ]);
        }
        if self.changes().next().is_some() {
            out.push_str(&format!("\n{}\n{}", style.bold("changed"), changed.render(style)));
        }
        out
    }

    fn kept_table(&self) -> Columns {
        let mut kept = Columns::new(&[
            ("POLICY", Align::Left),
            ("LEVEL", Align::Left),
            ("RETENTION", Align::Right),
            ("STATE", Align::Left),
            ("PARTITIONS", Align::Right),
            ("RECORDS", Align::Right),
            ("BYTES", Align::Right),
            ("OLDEST", Align::Left),
            ("OLDEST DUE", Align::Left),
            ("NEWEST", Align::Left),
            ("OVERDUE", Align::Right),
        ]);
        for (class, proof) in self.classes() {
            kept.row([
                class.policy.clone(),
                class.level.to_string(),
                duration::print(class.retention_us),
                self.state(class).to_owned(),
                self.attached(class).to_string(),
                proof.records.map_or_else(dash, number),
                bytes(proof.bytes.unsigned_abs()),
                proof.oldest_us.map_or_else(dash, duration::time),
                duration::time(proof.oldest_due_us),
                proof.newest_us.map_or_else(dash, duration::time),
                proof.overdue.to_string(),
            ]);
        }
        kept
    }

    fn holds_table(&self) -> Columns {
        let mut table = Columns::new(&[
            ("POLICY", Align::Left),
            ("HOLDS", Align::Left),
            ("PARTITIONS", Align::Right),
            ("RECORDS", Align::Right),
            ("BYTES", Align::Right),
            ("EXPIRED", Align::Right),
        ]);
        for (hold, kept) in &self.holds {
            table.row([
                hold.policy.clone(),
                hold.what(),
                kept.all.partitions.to_string(),
                kept.all.records.map_or_else(dash, number),
                bytes(kept.all.bytes.unsigned_abs()),
                kept.expired.to_string(),
            ]);
        }
        table
    }

    fn attached(&self, class: &Class) -> usize {
        let leaves = self.catalogue.leaves.iter().filter(|leaf| leaf.class == class.id);
        leaves.filter(|leaf| leaf.state == LeafState::Attached).count()
    }

    fn sums_table(&self) -> Columns {
        let mut table = Columns::new(&[
            ("POLICY", Align::Left),
            ("LEVEL", Align::Left),
            ("PARTITIONS", Align::Right),
            ("RECORDS", Align::Right),
            ("BYTES", Align::Right),
            ("RECORDS OF", Align::Left),
            ("UNTIL", Align::Left),
            ("YOUNGEST", Align::Right),
        ]);
        let mut sums: BTreeMap<(&str, Option<PolicyLevel>), Dropped> = BTreeMap::new();
        for entry in self.drops() {
            sums.entry((entry.policy.as_str(), entry.level)).or_default().add(entry);
        }
        for ((policy, of), sum) in sums {
            table.row([
                policy.to_owned(),
                level(of),
                sum.partitions.to_string(),
                // Of some nothing is known: it is at least so many.
                format!("{}{}", if sum.uncounted > 0 { ">= " } else { "" }, number(sum.records)),
                bytes(sum.bytes.unsigned_abs()),
                sum.from_us.map_or_else(dash, duration::time),
                sum.to_us.map_or_else(dash, duration::time),
                sum.youngest_us.map_or_else(dash, |us| duration::print(whole_minutes(us))),
            ]);
        }
        table
    }

    fn json(&self) -> Value {
        let kept: Vec<Value> = self
            .classes()
            .into_iter()
            .map(|(class, proof)| {
                json!({
                    "policy": class.policy, "level": class.level.to_string(), "class": class.id.0,
                    "retention": duration::print(class.retention_us), "grace": duration::print(class.grace_us),
                    "state": self.state(class), "legalHold": class.legal_hold, "partitions": self.attached(class),
                    "records": proof.records, "bytes": proof.bytes,
                    "oldest": proof.oldest_us.map(timestamp), "oldestDue": timestamp(proof.oldest_due_us),
                    "newest": proof.newest_us.map(timestamp), "overdue": proof.overdue,
                })
            })
            .collect();
        let entry = |entry: &Entry| {
            json!({
                "at": timestamp(entry.at_us), "policy": entry.policy, "generation": entry.generation,
                "level": entry.level.map(|level| level.to_string()), "class": entry.class.map(|class| class.0),
                "step": entry.step, "subject": entry.subject,
                "from": entry.bounds_us.map(|bounds| timestamp(bounds.0)),
                "to": entry.bounds_us.map(|bounds| timestamp(bounds.1)),
                "records": entry.records, "bytes": entry.bytes,
                "youngestSeconds": age_us(entry).map(|us| us / 1_000_000), "why": entry.why, "plan": entry.plan,
                "approval": entry.approval, "approvedBy": entry.approved_by, "changedBy": entry.changed_by,
            })
        };
        let hold = |(hold, kept): &(Hold, Kept)| {
            json!({
                "policy": hold.policy, "tenants": hold.tenants, "namespaces": hold.namespaces,
                "partitions": kept.all.partitions, "records": kept.all.records, "bytes": kept.all.bytes,
                "expired": kept.expired,
            })
        };
        json!({
            "at": timestamp(self.at_us), "since": self.since_us.map(timestamp), "kept": kept,
            "holds": self.holds.iter().map(hold).collect::<Vec<_>>(),
            "dropped": self.drops().map(entry).collect::<Vec<_>>(),
            "changed": self.changes().map(entry).collect::<Vec<_>>(),
        })
    }

    /// One table: its first column says what a row is about.
    fn csv(&self) -> String {
        let mut out = csv::row([
            "row",
            "at",
            "policy",
            "level",
            "class",
            "retention",
            "state",
            "legal_hold",
            "partitions",
            "table",
            "from",
            "to",
            "records",
            "bytes",
            "oldest",
            "oldest_due",
            "newest",
            "overdue",
            "youngest_seconds",
            "why",
            "generation",
            "plan",
            "approval",
            "approved_by",
            "changed_by",
        ]);
        let time = |us: Option<i64>| us.map_or_else(String::new, timestamp);
        let known = |number: Option<i64>| number.map_or_else(String::new, |number| number.to_string());
        for (class, proof) in self.classes() {
            out.push_str(&csv::row([
                "kept".to_owned(),
                timestamp(self.at_us),
                class.policy.clone(),
                class.level.to_string(),
                class.id.0.to_string(),
                duration::print(class.retention_us),
                self.state(class).to_owned(),
                class.legal_hold.to_string(),
                self.attached(class).to_string(),
                String::new(),
                String::new(),
                String::new(),
                known(proof.records),
                proof.bytes.to_string(),
                time(proof.oldest_us),
                timestamp(proof.oldest_due_us),
                time(proof.newest_us),
                proof.overdue.to_string(),
                String::new(),
                String::new(),
                String::new(),
                String::new(),
                String::new(),
                String::new(),
                String::new(),
            ]));
        }
        for entry in &self.history {
            out.push_str(&csv::row([
                if entry.is_drop() { "dropped" } else { "changed" }.to_owned(),
                timestamp(entry.at_us),
                entry.policy.clone(),
                entry.level.map_or_else(String::new, |level| level.to_string()),
                entry.class.map_or_else(String::new, |class| class.0.to_string()),
                String::new(),
                String::new(),
                String::new(),
                String::new(),
                entry.subject.clone(),
                time(entry.bounds_us.map(|bounds| bounds.0)),
                time(entry.bounds_us.map(|bounds| bounds.1)),
                known(entry.records),
                entry.bytes.to_string(),
                String::new(),
                String::new(),
                String::new(),
                String::new(),
                known(age_us(entry).map(|us| us / 1_000_000)),
                entry.why.clone(),
                known(entry.generation),
                entry.plan.clone(),
                entry.approval.clone().unwrap_or_default(),
                entry.approved_by.clone().unwrap_or_default(),
                entry.changed_by.clone().unwrap_or_default(),
            ]));
        }
        out
    }
}

/// What went of one class.
#[derive(Default)]
struct Dropped {
    partitions: usize,
    records: i64,
    uncounted: usize,
    bytes: i64,
    from_us: Option<i64>,
    to_us: Option<i64>,
    youngest_us: Option<i64>,
}

impl Dropped {
    fn add(&mut self, entry: &Entry) {
        self.partitions += 1;
        self.records += entry.records.unwrap_or(0);
        self.uncounted += usize::from(entry.records.is_none());
        self.bytes += entry.bytes;
        self.from_us = [self.from_us, entry.bounds_us.map(|bounds| bounds.0)].into_iter().flatten().min();
        self.to_us = self.to_us.max(entry.bounds_us.map(|bounds| bounds.1));
        self.youngest_us = [self.youngest_us, age_us(entry)].into_iter().flatten().min();
    }
}

/// How old the youngest record was at the least that went with a table partition.
fn age_us(entry: &Entry) -> Option<i64> {
    entry.bounds_us.filter(|_| entry.is_drop()).map(|(_, to_us)| entry.at_us - to_us)
}

fn whole_minutes(us: i64) -> i64 {
    us - us.rem_euclid(60_000_000)
}

/// The approval, or else who changed it.
fn approval(entry: &Entry) -> String {
    match (&entry.approval, &entry.approved_by, &entry.changed_by) {
        (Some(plan), Some(by), _) => format!("{plan} by {by}"),
        (_, _, Some(by)) => format!("by {by}"),
        _ => dash(),
    }
}

fn level(level: Option<PolicyLevel>) -> String {
    level.map_or_else(dash, |level| level.to_string())
}

fn number(number: i64) -> String {
    grouped(number.max(0).unsigned_abs())
}

fn dash() -> String {
    "-".to_owned()
}
