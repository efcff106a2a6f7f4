//! Measures many policies (100 and 500) with little data each, on PostgreSQL 15 and 18 with their default settings. It compares nothing; the
//! versions and the numbers of policies stand below each other. Prints the number of tables, the times until Ready, until all is sealed, of
//! one pass, of a search to the end and of `pg_dump | psql`, or why one failed.

use std::time::Duration;

use anyhow::Result;
use cordwood_tests::policies;

use super::{Figure, figure};

/// # Errors
/// PostgreSQL does not start.
pub async fn measure() -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for (version, count, levels) in [(15, 100, 1), (15, 500, 1), (15, 100, 4), (18, 100, 1), (18, 500, 1)] {
        let outcome = policies::measure(version, count, levels).await?;
        let name = |what: &str| format!("PostgreSQL {version}, {count} policies: {what}");
        let how = format!("{levels} of 4 levels have records");
        let mut add = |what: &str, value: String| figures.push(figure(name(what), value, how.clone()));
        let seconds = |time: Duration| format!("{:.2} s", time.as_secs_f64());
        let or_why = |result: &Result<Duration, String>| match result {
            Ok(time) => seconds(*time),
            Err(why) => why.clone(),
        };
        add("tables of partitions", outcome.tables.to_string());
        add("relations", outcome.relations.to_string());
        add("until Ready", seconds(outcome.ready));
        add("until all is sealed", or_why(&outcome.sealed));
        add("one pass", format!("{}, {} MiB", seconds(outcome.pass), outcome.pass_mib));
        add("search to the end", or_why(&outcome.search));
        let dump = if version == 15 { "pg_dump | psql" } else { "lock all tables, as pg_dump does" };
        add(dump, or_why(&outcome.dump));
    }
    Ok(figures)
}
