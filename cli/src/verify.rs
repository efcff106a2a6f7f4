//! `cordwood store verify`: reads every block of the store and says what is wrong with it. Exit code 1 when something is, and stays so.

use std::io::Write;

use anyhow::Context;
use cordwood_service::Failure;
use cordwood_store::StoreError;
use cordwood_store::verify::{Counts, Fault, Leaf, TableReport, Verifier};
use serde_json::json;

use crate::args::{TableOrJson, VerifyArgs};
use crate::database::Database;
use crate::output::columns::{Align, Columns, bytes, counted, grouped};
use crate::output::{ColorChoice, Style};
use crate::{Outcome, query};

/// Faults that are shown; all are counted.
const SHOWN_MAX: usize = 50;

pub async fn run(args: VerifyArgs, color: ColorChoice) -> Result<Outcome, Failure> {
    let database = Database::open(&args.database, false).await?;
    let found = Found::read(&database, &args).await.map_err(query::failure)?;
    let text = match args.output {
        TableOrJson::Table => found.table(Style::stdout(color)),
        TableOrJson::Json => found.json(),
    };
    database.close().await;
    std::io::stdout().write_all(text.as_bytes()).context("write to stdout").map_err(Failure::Run)?;
    Ok(if found.left() > 0 { Outcome::Bad } else { Outcome::Done })
}

struct Found {
    tables: Vec<(TableReport, Option<Leaf>)>,
    shown: Vec<Fault>,
    /// As its counts differ from those per minute.
    counts: Counts,
}

impl Found {
    async fn read(database: &Database, args: &VerifyArgs) -> Result<Found, StoreError> {
        let mut verifier = Verifier::open(&database.store, args.repair).await?;
        let (mut tables, mut shown) = (Vec::new(), Vec::new());
        let mut told = |fault: Fault| {
            if shown.len() < SHOWN_MAX {
                shown.push(fault);
            }
        };
        tables.extend(verifier.fresh(&mut told).await?.into_iter().map(|report| (report, None)));
        for leaf in verifier.leaves().await? {
            if let Some(report) = verifier.leaf(&leaf, &mut told).await? {
                tables.push((report, Some(leaf)));
            }
        }
        let counts = verifier.counts().await?;
        Ok(Found { tables, shown, counts })
    }

    fn sum(&self, of: impl Fn(&TableReport) -> u64) -> u64 {
        self.tables.iter().map(|(report, _)| of(report)).sum()
    }

    /// Faults that are not repaired.
    fn left(&self) -> u64 {
        self.sum(|report| report.faults - report.repaired) + u64::from(self.counts.fault().is_some())
    }

    fn table(&self, style: Style) -> String {
        let right = Align::Right;
        let mut columns = Columns::new(&[
            ("TABLE", Align::Left),
            ("BLOCKS", right),
            ("COLUMNS", right),
            ("RECORDS", right),
            ("RAW", right),
            ("PACKED", right),
            ("FAULTS", right),
            ("REPAIRED", right),
        ]);
        let cells = |name: String, of: &dyn Fn(fn(&TableReport) -> u64) -> u64| {
            [
                name,
                grouped(of(|r| r.blocks)),
                grouped(of(|r| r.blocks_of_format_2)),
                grouped(of(|r| r.records)),
                bytes(of(|r| r.raw_bytes)),
                bytes(of(|r| r.packed_bytes)),
                grouped(of(|r| r.faults)),
                grouped(of(|r| r.repaired)),
            ]
        };
        for (report, leaf) in &self.tables {
            let detached = leaf.as_ref().is_some_and(|leaf| leaf.is_detached);
            let name = format!("{}{}", report.table, if detached { " (detached)" } else { "" });
            columns.row(cells(name, &|of| of(report)));
        }
        let name = format!("total of {}", counted(self.tables.len() as u64, "table"));
        columns.row(cells(name, &|of| self.sum(of)));
        let mut out = columns.render(style);
        for fault in &self.shown {
            let block = fault.block.map_or_else(String::new, |id| format!(" block {id}"));
            let repaired = if fault.repaired { " (repaired)" } else { "" };
            out.push_str(&format!("{}{block}: {}{repaired}\n", fault.table, fault.what));
        }
        let faults = self.sum(|report| report.faults);
        if faults > self.shown.len() as u64 {
            out.push_str(&format!("and {} more\n", counted(faults - self.shown.len() as u64, "fault")));
        }
        out.push_str(&format!("{}\n", style.dim(&self.compared())));
        let repaired = self.sum(|report| report.repaired);
        let verdict = match (self.left(), repaired) {
            (0, 0) => style.good("the store is whole"),
            (0, _) => style.good(&format!("the store is whole: {} repaired", counted(repaired, "fault"))),
            (left, 0) => style.bad(&counted(left, "FAULT")),
            (left, _) => style.bad(&format!("{}, {} repaired", counted(left, "FAULT"), grouped(repaired))),
        };
        out.push_str(&verdict);
        out.push('\n');
        out
    }

    /// Against the counts per minute.
    fn compared(&self) -> String {
        let counts = &self.counts;
        if let Some(what) = counts.fault() {
            return format!("rollup: {what}");
        }
        if counts.is_partial {
            return "rollup: not compared, since an older version has not noted all that it did".to_owned();
        }
        format!(
            "rollup: {} records counted, {} stored, {} expired, {} dropped",
            counts.counted,
            counts.sealed + counts.fresh,
            counts.expired,
            counts.dropped
        )
    }

    fn json(&self) -> String {
        let mut out = String::new();
        let mut line = |value: serde_json::Value| {
            out.push_str(&value.to_string());
            out.push('\n');
        };
        for (report, leaf) in &self.tables {
            line(json!({
                "table": report.table, "detached": leaf.as_ref().is_some_and(|leaf| leaf.is_detached),
                "blocks": report.blocks, "blocksOfFormat2": report.blocks_of_format_2, "records": report.records,
                "rawBytes": report.raw_bytes, "packedBytes": report.packed_bytes,
                "faults": report.faults, "repaired": report.repaired,
            }));
        }
        for fault in &self.shown {
            // As text: not every reader keeps 64 bits of a number.
            let block = fault.block.map(|id| id.to_string());
            line(
                json!({"fault": fault.what, "table": fault.table, "block": block, "repaired": fault.repaired}),
            );
        }
        let counts = &self.counts;
        line(json!({
            "total": true, "faults": self.left(), "repaired": self.sum(|report| report.repaired),
            "counted": counts.counted, "stored": counts.sealed + counts.fresh, "expired": counts.expired,
            "dropped": counts.dropped, "rollupFault": counts.fault(),
        }));
        out
    }
}
