//! `cordwood tail`: records as they are stored. Looks at PostgreSQL a few times a second.

use std::collections::HashSet;
use std::time::Duration;

use anyhow::Context;
use cordwood_core::filter::Filter;
use cordwood_core::origin::Origin;
use cordwood_service::{Failure, Pauses, shutdown_signal};
use cordwood_store::follow::Follow;
use cordwood_store::scope::Scope;
use cordwood_store::search::{Cursor, OwnedRecord, Page, TimeRange, search};

use crate::args::TailArgs;
use crate::database::Database;
use crate::output::{ColorChoice, Printer, Style};
use crate::{Outcome, query};

/// Longest wait between two attempts while PostgreSQL is away.
const RETRY_MAX: Duration = Duration::from_secs(5);

pub async fn run(args: TailArgs, color: ColorChoice) -> Result<Outcome, Failure> {
    let filter = args.filter.filter()?;
    let scope = args.filter.scope();
    let database = Database::open(&args.database, false).await?;
    let shutdown = shutdown_signal().context("handle signals").map_err(Failure::Run)?;
    let mut printer = Printer::new(&args.output.printer(color));
    let style = Style::stderr(color);
    let mut newest = None;
    let mut last = args.cursor.as_deref().map(query::cursor).transpose()?;
    let mut follow = match last {
        Some(cursor) => Follow::after(&database.store, cursor).await.map_err(query::failure)?,
        // The place first, then what is there: what is stored in between is seen twice at the worst, and skipped by its id.
        None => Follow::from_now(&database.store).await.map_err(query::failure)?,
    };
    if args.lines > 0 && last.is_none() {
        let shown = print_last(&database, &scope, &filter, &args, &mut printer).await?;
        last = shown.iter().max().copied();
        newest = Some(shown);
    }
    let poll = Duration::from_millis(args.poll_ms);
    let mut wait = poll;
    let mut pauses = Pauses::new(poll, RETRY_MAX.max(poll));
    let mut failing = false;
    while shutdown.run_until_cancelled(tokio::time::sleep(wait)).await.is_some() {
        match follow.next(&scope, &filter).await {
            Ok(news) => {
                if failing {
                    eprintln!("{}", style.dim("-- PostgreSQL is back"));
                    failing = false;
                }
                pauses.reset();
                if news.gap {
                    eprintln!(
                        "{}",
                        style.dim(
                            "-- gap: records were sealed before they were seen; `cordwood query` has them"
                        )
                    );
                }
                let nowhere = Origin::default();
                let shown = std::mem::take(&mut newest).unwrap_or_default();
                let rows = news.records.iter().filter(|record| !shown.contains(&record.cursor()));
                let rows = rows.map(|record| (record, follow.origin(record.origin).unwrap_or(&nowhere)));
                printer.page(rows).context("write to stdout").map_err(Failure::Run)?;
                last = last.max(news.records.iter().map(OwnedRecord::cursor).max());
                wait = if news.more { Duration::ZERO } else { poll };
            }
            Err(error) if error.is_transient() => {
                if !failing {
                    eprintln!("{}", style.bad(&format!("-- waiting: {error}")));
                    failing = true;
                }
                wait = pauses.pause();
            }
            Err(error) => return Err(query::failure(error)),
        }
    }
    if let Some(cursor) = last {
        eprintln!("{}", style.dim(&format!("-- go on with --cursor {cursor}")));
    }
    Ok(Outcome::Done)
}

/// The newest records, oldest of them first; returns which they were.
async fn print_last(
    database: &Database,
    scope: &Scope,
    filter: &Filter,
    args: &TailArgs,
    printer: &mut Printer,
) -> Result<HashSet<Cursor>, Failure> {
    let limit = usize::try_from(args.lines).unwrap_or(usize::MAX);
    let found = search(&database.store, scope, filter, TimeRange::default(), Page::first(limit), 10_000)
        .await
        .map_err(query::failure)?;
    query::print(printer, &found, true)?;
    Ok(found.records.iter().map(OwnedRecord::cursor).collect())
}
