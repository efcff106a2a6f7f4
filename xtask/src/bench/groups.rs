//! Measures lists of error groups over long ranges, on about a million counts of 30 days. Beside each list stands its first step alone: the
//! sum over the table of days and over the table of hours. Prints the time to write the counts, and the median and slowest time of each
//! list and sum.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use cordwood_store::connect::{Settings, Store};
use cordwood_store::errors::{Asked, HOUR_US, Order, groups};
use cordwood_store::migrate;
use cordwood_store::scope::{AdminReason, Scope};
use cordwood_tests::env::Postgres;

use super::{Figure, figure};

const DAYS: i64 = 30;
const GROUPS: i64 = 1_400;
const ROUNDS: usize = 7;

/// # Errors
/// PostgreSQL does not start, or a list counts wrongly.
pub async fn measure() -> Result<Vec<Figure>> {
    let postgres = Postgres::start(18).await?;
    let store = Store::connect(&Settings::url(postgres.database("groups").await?)).await?;
    migrate::run(&store).await?;
    let client = postgres.client_of("groups").await?;
    let began = Instant::now();
    client
        .batch_execute(&format!(
            "insert into error_counts (hour, signature, tenant, namespace, service, level, audit, task_id, count)
               select date_trunc('hour', now()) - h * interval '1 hour', g, 'tenant-' || g % 20, 'ns-' || g % 50, 'service-' || g % 100,
                 3 + g % 2, false, '', 1 + g % 9 from generate_series(0, {}) h, generate_series(1, {GROUPS}) g;
             insert into error_groups (signature, tenant, namespace, service, level, audit, task_id, first_seen, last_seen, topic_partition,
                 kafka_offset, record_index, error_type, message)
               select g, 'tenant-' || g % 20, 'ns-' || g % 50, 'service-' || g % 100, 3 + g % 2, false, '', now() - interval '40 days', now(),
                 0, 0, 0, '', 'message ' || g from generate_series(1, {GROUPS}) g;
             analyze error_counts, error_days, error_groups",
            DAYS * 24 - 1
        ))
        .await?;
    let rows = DAYS * 24 * GROUPS;
    let mut figures = vec![figure(
        "groups of errors: rows written",
        format!("{:.1} s", began.elapsed().as_secs_f64()),
        format!("{rows} counts in one statement, with those by day"),
    )];
    let end = jiff::Timestamp::now().as_microsecond().div_euclid(HOUR_US) * HOUR_US + HOUR_US;
    let all = Scope::all(AdminReason::Audit);
    for days in [1, 7, 30] {
        let asked = Asked {
            from_hour_us: end - days * 24 * HOUR_US,
            to_hour_us: end,
            levels: vec![],
            tenants: vec![],
            namespaces: vec![],
            services: vec![],
            text: None,
            new_since_us: None,
            signature: None,
            order: Order::Count,
            after: None,
            limit: 100,
            bin_us: if days > 14 { 24 } else { 6 } * HOUR_US,
        };
        let mut times = Vec::new();
        for _ in 0..ROUNDS {
            let began = Instant::now();
            let listed = groups(&store, &all, &asked).await?;
            times.push(began.elapsed());
            ensure!(listed.groups.len() == asked.limit && listed.next.is_some());
        }
        let how = format!("100 of {GROUPS} groups of all tenants, {rows} counts");
        figures.push(of(format!("groups of errors: a list of {days} days"), times, &how)?);
        for (table, time) in [("error_counts", "hour"), ("error_days", "day")] {
            let sum = format!(
                "select signature, sum(count)::bigint, max(level) from {table} where {time} >= date_trunc('hour', now()) - {days} * interval '1 day' \
                 group by 1"
            );
            let mut times = Vec::new();
            for _ in 0..ROUNDS {
                let began = Instant::now();
                client.query(&sum, &[]).await?;
                times.push(began.elapsed());
            }
            figures.push(of(
                format!("groups of errors: the sum of {days} days of {table} alone"),
                times,
                &how,
            )?);
        }
    }
    Ok(figures)
}

fn of(what: String, mut times: Vec<Duration>, how: &str) -> Result<Figure> {
    times.sort();
    let ms = |time: &Duration| time.as_secs_f64() * 1_000.0;
    let (median, slowest) = (times.get(times.len() / 2).context("a time")?, times.last().context("a time")?);
    Ok(figure(what, format!("{:.0} ms", ms(median)), format!("{how}; slowest {:.0} ms", ms(slowest))))
}
