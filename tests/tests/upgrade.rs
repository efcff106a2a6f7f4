//! What older versions left behind, taken over by this one: nothing lost, nothing twice, everything found. `cargo xtask
//! upgrade fixture` makes the archive of a version.

#![allow(clippy::print_stdout, reason = "the report is what a person runs this test for")]

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use cordwood_tests::bin;
use cordwood_tests::env::{Postgres, wait_for};
use cordwood_tests::reconcile::{Report, reconcile};
use cordwood_tests::upgrade::{Expected, Place};

const PATIENCE: Duration = Duration::from_secs(90);

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/upgrade")
}

/// Every archive that is committed, on the oldest and the newest PostgreSQL, and sealed on in either format of blocks.
#[tokio::test(flavor = "multi_thread")]
async fn what_older_versions_left_is_taken_over() -> Result<()> {
    let mut archives: Vec<PathBuf> =
        std::fs::read_dir(fixtures())?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    archives.retain(|path| path.extension().is_some_and(|extension| extension == "gz"));
    archives.sort();
    ensure!(!archives.is_empty(), "no archive in {}", fixtures().display());
    for archive in archives {
        for (version, format) in [(15, 1), (18, 3)] {
            let what = format!("{} on PostgreSQL {version}, sealed on in format {format}", archive.display());
            take_over(&archive, version, format).await.context(what)?;
        }
    }
    Ok(())
}

async fn take_over(archive: &Path, version: u32, format: i32) -> Result<()> {
    let (place, program) = (Place::take()?, bin("cordwood")?);
    let postgres = Postgres::start(version).await?;
    let url = postgres.url();
    let expected = place.unpack(archive, &postgres).await?;
    let before = reconcile(&url, expected.ledger.clone()).await?;
    ensure!(before.fresh_blocks > 0 && before.sealed_blocks > 0, "fresh and sealed blocks: {before}");
    ensure!(before.lines_found < before.lines_written, "nothing is left to be read: {before}");

    let mut run = place.standalone(&program, &url, 1, &["--seal-format", &format.to_string()])?;
    let report = wait_for("everything to be stored", PATIENCE, || async {
        let report = reconcile(&url, expected.ledger.clone()).await?;
        ensure!(is_whole(&report, &expected), "{report}");
        Ok(report)
    })
    .await
    .with_context(|| run.log_tail(20))?;
    println!("{report}");
    // The old version was killed between storing and its checkpoint.
    ensure!(report.duplicates_skipped > before.duplicates_skipped, "nothing came twice: {report}");
    ensure!((report.losses, report.dead_letters) == (0, 0), "{report}");
    found(&place, &program, &url, &expected)?;

    // What is fresh, of the old version or of this one, is sealed.
    let sealed = wait_for("everything to be sealed", PATIENCE, || async {
        let report = reconcile(&url, expected.ledger.clone()).await?;
        ensure!(report.fresh_blocks == 0, "{report}");
        Ok(report)
    })
    .await?;
    sealed.check()?;
    ensure!(is_whole(&sealed, &expected), "{sealed}");
    found(&place, &program, &url, &expected)?;
    // What is sealed before the operator has made room for indexes is of format 2.
    let of_format = "select count(*) from blocks where get_byte(payload, 0) between least($1, 2) and $1";
    let blocks: i64 = postgres.client().await?.query_one(of_format, &[&format]).await?.get(0);
    ensure!(blocks > 0, "no block of format {format} was sealed");
    run.stop();
    Ok(())
}

fn is_whole(report: &Report, expected: &Expected) -> bool {
    let plain: u64 = expected.words.iter().map(|(_, lines)| lines).sum();
    report.holds() && report.others == plain
}

/// Each line of the plain file by a word of its time, no matter which version stored it; and all in the order in which they were written.
fn found(place: &Place, program: &Path, url: &str, expected: &Expected) -> Result<()> {
    let mut numbers = Vec::new();
    for (word, lines) in &expected.words {
        let found = place.query(program, url, &[word])?;
        let found: Vec<u64> = found.iter().filter_map(|line| number_of(line)).collect();
        ensure!(found.len() as u64 == *lines, "{} of {lines} lines with {word} are found", found.len());
        numbers.extend(found);
    }
    ensure!(numbers.iter().copied().eq(0..numbers.len() as u64), "not in order: {numbers:?}");
    Ok(())
}

fn number_of(line: &str) -> Option<u64> {
    let rest =
        line.strip_prefix("INFO order ").or_else(|| line.split_once("\"order\":").map(|(_, rest)| rest))?;
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    rest[..digits].parse().ok()
}
