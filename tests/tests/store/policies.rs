//! A hundred policies on a PostgreSQL with its own settings: as many tables as records need, and everything works.

use anyhow::{Result, ensure};
use cordwood_tests::policies::measure;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_policies_are_no_burden_to_a_stock_postgresql() -> Result<()> {
    let outcome = measure(15, 100, 1).await?;
    println!("{outcome:?}");
    // A class's table, its leaf of now and at most a few ahead. 12,000 before.
    ensure!(outcome.tables <= 100 * 5, "{} tables", outcome.tables);
    ensure!(outcome.sealed.is_ok(), "{:?}", outcome.sealed);
    ensure!(outcome.search.is_ok(), "{:?}", outcome.search);
    ensure!(outcome.dump.is_ok(), "{:?}", outcome.dump);
    Ok(())
}
