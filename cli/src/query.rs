//! `cordwood query`: pages of records in either direction.

use anyhow::Context;
use cordwood_core::filter::{self, Filter};
use cordwood_service::Failure;
use cordwood_store::into_table;
use cordwood_store::search::{Cursor, Direction, Found, Page, TimeRange, search};

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
    let (filter, range) = match &args.id {
        Some(id) => (named(id)?, TimeRange::default()),
        None => (args.filter.filter()?, range(&args)?),
    };
    let after = args.cursor.as_deref().map(cursor).transpose()?;
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
    let direction = if args.oldest_first { Direction::OldestFirst } else { Direction::NewestFirst };
    let mut page = Page { limit: 0, after, direction };
    let mut kept: Vec<Found> = Vec::new();
    let mut printed = 0;
    let (mut ended_by_budget, mut searched_to_us, mut unindexed): (bool, Option<i64>, Vec<String>);
    loop {
        page.limit = usize::try_from(wanted.min(PAGE_RECORDS_MAX)).unwrap_or(usize::MAX);
        let found =
            search(&database.store, &scope, &filter, range, page, args.budget_ms).await.map_err(failure)?;
        let count = found.records.len() as u64;
        printed += count;
        wanted -= count.min(wanted);
        page.after = found.cursor;
        ended_by_budget = !found.complete;
        searched_to_us = found.searched_to_us;
        unindexed = found.unindexed.clone();
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
    let say = |line: String| eprintln!("{}", style.dim(&line));
    if !unindexed.is_empty() {
        say(unindexed_note(&unindexed));
    }
    let end = End { cursor: page.after, ended_by_budget, searched_to_us, printed };
    end.line(&args).into_iter().for_each(say);
    if printed == 0 && page.after.is_none() && args.id.is_none() {
        for hint in hint::of_empty(&database.store, &scope, &filter, range).await {
            say(format!("-- {hint}"));
        }
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

/// How a query ended, for the line below its records.
struct End {
    cursor: Option<Cursor>,
    ended_by_budget: bool,
    searched_to_us: Option<i64>,
    printed: u64,
}

impl End {
    fn line(&self, args: &QueryArgs) -> Option<String> {
        Some(match self.cursor {
            Some(cursor) if self.ended_by_budget => {
                let direction = if args.oldest_first { "forward" } else { "back" };
                let zone = args.output.zone();
                let time = self.searched_to_us.map(|time_us| zone.show(time_us)).unwrap_or_default();
                let none = if self.printed == 0 { "no matching records so far; " } else { "" };
                format!(
                    "-- {none}searched {direction} to {time} in {} ms; go on with --cursor {cursor} (or a larger --budget-ms)",
                    args.budget_ms
                )
            }
            Some(cursor) => format!("-- more: --cursor {cursor}"),
            None if self.printed == 0 && args.id.is_some() => {
                "-- no record has this id: it may have expired".to_owned()
            }
            None if self.printed == 0 => "-- no matching records".to_owned(),
            None => return None,
        })
    }
}

/// The filter of one record.
fn named(id: &str) -> Result<Filter, Failure> {
    let id =
        id.parse::<Cursor>().map_err(|_| anyhow::anyhow!("{id:?} is not of the form <time>.<record id>"));
    let id = id.context("--id").map_err(Failure::Config)?;
    filter::parse(&format!("id={id}")).context("--id").map_err(Failure::Config)
}

pub fn cursor(text: &str) -> Result<Cursor, Failure> {
    text.parse::<Cursor>().context("--cursor").map_err(Failure::Config)
}

impl OutputArgs {
    pub fn zone(&self) -> TimeZoneChoice {
        if self.local { TimeZoneChoice::Local } else { TimeZoneChoice::Utc }
    }

    pub fn printer(&self, color: ColorChoice) -> PrinterOptions {
        PrinterOptions {
            format: self.output,
            color,
            zone: self.zone(),
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
    let zone = args.output.zone().zone();
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
