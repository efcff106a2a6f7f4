//! `cordwood query`: pages of records, newest first.

use anyhow::Context;
use cordwood_service::Failure;
use cordwood_store::into_table;
use cordwood_store::search::{Cursor, Found, Page, TimeRange, search};
use jiff::tz::TimeZone;

use crate::args::OutputArgs;
use crate::args::QueryArgs;
use crate::database::Database;
use crate::output::columns::grouped;
use crate::output::escape;
use crate::output::{ColorChoice, Printer, PrinterOptions, Style, TimeZoneChoice};
use crate::{Outcome, hint, now_us};

const LIMIT_DEFAULT: u64 = 100;
/// Records fetched at once with --all and large limits.
const PAGE_RECORDS_MAX: u64 = 5_000;

pub async fn run(args: QueryArgs, color: ColorChoice) -> Result<Outcome, Failure> {
    let filter = args.filter.filter()?;
    let range = range(&args)?;
    let after = match &args.after {
        Some(text) => Some(text.parse::<Cursor>().context("--after").map_err(Failure::Config)?),
        None => None,
    };
    let database = Database::open(&args.database, false).await?;
    let scope = args.filter.scope();
    if let Some(table) = &args.into_table {
        let written =
            into_table::write(&database.store, &scope, &filter, range, table).await.map_err(failure)?;
        println!("{} records written to table {table}", grouped(written));
        if let Some(hint) = database.psql_hint() {
            eprintln!("to look at it: {hint} -c 'select * from {table} limit 10'");
        }
        return Ok(Outcome::Done);
    }
    let mut printer = Printer::new(&args.output.printer(color));
    let mut wanted = if args.all { u64::MAX } else { args.limit.unwrap_or(LIMIT_DEFAULT) };
    let mut page = Page { limit: 0, after };
    let mut kept: Vec<Found> = Vec::new();
    let mut printed = 0;
    let mut ended_by_budget;
    loop {
        page.limit = usize::try_from(wanted.min(PAGE_RECORDS_MAX)).unwrap_or(usize::MAX);
        let found =
            search(&database.store, &scope, &filter, range, page, args.budget_ms).await.map_err(failure)?;
        let count = found.records.len() as u64;
        printed += count;
        wanted -= count.min(wanted);
        page.after = found.cursor;
        ended_by_budget = !found.complete;
        // The oldest first can only be said when all are there.
        if args.reverse {
            kept.push(found);
        } else {
            print(&mut printer, &found, false)?;
        }
        // With --all a search that ran out of time is simply gone on with.
        if page.after.is_none() || wanted == 0 || (ended_by_budget && !args.all) {
            break;
        }
    }
    for found in kept.iter().rev() {
        print(&mut printer, found, true)?;
    }
    let style = Style::stderr(color);
    let unindexed = filter.plan().unindexed;
    if !unindexed.is_empty() {
        eprintln!("{}", style.dim(&unindexed_note(&unindexed)));
    }
    match page.after {
        Some(cursor) if ended_by_budget => eprintln!(
            "{}",
            style.dim(&format!(
                "-- searched for {} ms; go on with --after {cursor} (or a larger --budget-ms)",
                args.budget_ms
            ))
        ),
        Some(cursor) => eprintln!("{}", style.dim(&format!("-- more: --after {cursor}"))),
        None if printed == 0 => {
            eprintln!("{}", style.dim("-- no matching records"));
            for hint in hint::of_empty(&database.store, &scope, &filter, range).await {
                eprintln!("{}", style.dim(&format!("-- {hint}")));
            }
        }
        None => {}
    }
    Ok(Outcome::Done)
}

/// Why the search may have read much.
fn unindexed_note(unindexed: &[String]) -> String {
    let terms: Vec<_> = unindexed.iter().map(|term| escape::one_line(term)).collect();
    format!(
        "-- not looked up in the index, but in every record that the rest of the filter and the time leave: {}",
        terms.join(", ")
    )
}

impl OutputArgs {
    pub fn printer(&self, color: ColorChoice) -> PrinterOptions {
        PrinterOptions {
            format: self.output,
            color,
            zone: if self.local { TimeZoneChoice::Local } else { TimeZoneChoice::Utc },
            raw_control: self.raw_control,
            full: self.full,
        }
    }
}

/// One page, its oldest record first when `reverse`.
pub fn print(printer: &mut Printer, found: &Found, reverse: bool) -> Result<(), Failure> {
    let nowhere = cordwood_core::origin::Origin::default();
    let rows =
        found.records.iter().map(|record| (record, found.origins.get(&record.origin).unwrap_or(&nowhere)));
    let result = if reverse { printer.page(rows.rev()) } else { printer.page(rows) };
    result.context("write to stdout").map_err(Failure::Run)
}

fn range(args: &QueryArgs) -> Result<TimeRange, Failure> {
    let now_us = now_us();
    let zone = if args.output.local { TimeZone::system() } else { TimeZone::UTC };
    let resolve = |name: &'static str, when: &Option<crate::times::When>| {
        when.as_ref()
            .map(|when| when.resolve_us(now_us, &zone))
            .transpose()
            .context(name)
            .map_err(Failure::Config)
    };
    let range =
        TimeRange { from_us: resolve("--since", &args.since)?, to_us: resolve("--until", &args.until)? };
    if let (Some(from), Some(to)) = (range.from_us, range.to_us)
        && from >= to
    {
        return Err(Failure::Config(anyhow::anyhow!(
            "--since is not before --until: nothing can lie between them"
        )));
    }
    Ok(range)
}

/// What the server says is no fault of the command line, but a name that cannot be one is.
pub fn failure(error: cordwood_store::error::StoreError) -> Failure {
    match error {
        cordwood_store::error::StoreError::Invalid(_) => Failure::Config(error.into()),
        error => Failure::Run(error.into()),
    }
}
