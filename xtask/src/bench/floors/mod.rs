//! `cargo xtask bench --only floors` measures size, CPU, memory and searches of what is stored, in each format of sealed blocks. It compares them
//! with the floors and aims that the project has set itself, and with VictoriaLogs where that can be built. Prints one table. `--only
//! profile` measures and prints where the time of a first page goes.

mod cold;
mod profile;
mod searches;
mod stored;
mod table;
mod victoria;

use std::path::PathBuf;

use anyhow::Result;

use super::corpus::Corpus;
use super::note;
use super::services::Sought;
use table::{Bound, Column, Row};

const CPU: &str = "CPU from Kafka to sealed, of a million records";
const MEMORY: &str = "most memory of the writer";
const HISTOGRAM: &str = "histogram by hour and level, one common word";
const CORPORA: [&str; 3] = ["JSON lines of the bench", "JSON lines of services", "text logs"];
/// The floors of searches are of so many records, and of twenty times as many.
const FEW: u64 = 5_000_000;
/// Fewer say nothing of text.
const TEXT_LINES_MIN: u64 = 1_000;

/// What is measured of what is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Sizes too.
    Searches,
    Profile,
}

/// What is asked for.
pub struct Asked<'a> {
    pub lines: u64,
    /// None: the writer's own.
    pub formats: &'a [u8],
    /// Folders with text logs.
    pub logs: Vec<PathBuf>,
    pub log_bytes_max: u64,
    pub parts: Vec<Part>,
}

fn size(corpus: &str) -> String {
    format!("bytes per raw byte, {corpus}")
}

fn unpacked(corpus: &str) -> String {
    format!("the same before VACUUM and packing, {corpus}")
}

fn sealed_page(sought: Sought) -> String {
    format!("first page: {}", sought.name())
}

fn cold_page(sought: Sought) -> String {
    format!("first page, cold: {}", sought.name())
}

fn fresh_page(sought: Sought) -> String {
    format!("first page, fresh: {}", sought.name())
}

/// Of these, as the project has set them itself; in ms where the rows say so.
fn rows(lines: u64) -> Vec<Row> {
    let at_most = |floor, aim| Bound::AtMost { floor, aim };
    let mut rows = Vec::new();
    let mut row = |name: String, unit, bound| rows.push(Row { name, unit, bound });
    for corpus in CORPORA {
        let bound = match corpus {
            "text logs" => Bound::TimesFormat1 { floor: 0.85, aim: 0.7 },
            _ => at_most(0.11, 0.09),
        };
        row(size(corpus), "", bound);
        row(unpacked(corpus), "", Bound::None);
    }
    row(CPU.to_owned(), "s", Bound::TimesFormat1 { floor: 1.3, aim: 1.0 });
    row(MEMORY.to_owned(), "MiB", Bound::None);
    for sought in Sought::ALL {
        let bound = match sought {
            Sought::Absent | Sought::OneInAMillion | Sought::Trace | Sought::User if lines <= FEW => {
                at_most(10.0, 3.0)
            }
            Sought::Absent | Sought::OneInAMillion | Sought::Trace | Sought::User => at_most(30.0, 10.0),
            Sought::TwoSeldomApart => at_most(100.0, 50.0),
            Sought::TwoCommonApart => Bound::None,
            _ => at_most(50.0, 15.0),
        };
        row(sealed_page(sought), "ms", bound);
    }
    row(HISTOGRAM.to_owned(), "ms", at_most(1_000.0, 200.0));
    Sought::ALL.into_iter().for_each(|sought| row(fresh_page(sought), "ms", at_most(100.0, 50.0)));
    Sought::ALL.into_iter().for_each(|sought| row(cold_page(sought), "ms", Bound::None));
    rows
}

/// Measures and prints.
///
/// # Errors
/// Cordwood's own parts do not start. What a format, or VictoriaLogs, lacks is said in the table.
#[allow(clippy::print_stdout)]
pub async fn measure(asked: &Asked<'_>) -> Result<()> {
    // The same for all of them.
    let end_us = jiff::Timestamp::now().as_microsecond();
    let text = Corpus::found(&asked.logs, asked.log_bytes_max)?;
    let formats: Vec<Option<u8>> =
        if asked.formats.is_empty() { vec![None] } else { asked.formats.iter().copied().map(Some).collect() };
    let (mut columns, mut profiles) = (Vec::new(), Vec::new());
    for format in formats {
        let name =
            format.map_or_else(|| "the writer's format".to_owned(), |format| format!("format {format}"));
        let mut column = Column::new(name, true);
        let outcome = of_cordwood(&mut column, asked, format, end_us, &text).await;
        match outcome {
            Ok(profile) => profiles.extend(profile.map(|profile| format!("{}, {profile}", column.name))),
            Err(error) => column.missing = Some(format!("{error:#}")),
        }
        columns.push(column);
    }
    if asked.parts.contains(&Part::Searches) {
        let version = cordwood_tests::env::victoria_logs::VERSION;
        let mut column = Column::new(format!("VictoriaLogs {version}"), false);
        if let Err(error) = of_victoria(&mut column, asked, end_us, &text).await {
            column.missing = Some(format!("{error:#}"));
        }
        columns.push(column);
        println!(
            "\n{} lines of services, {} of the bench, {} of text",
            asked.lines,
            asked.lines,
            text.lines()
        );
        println!("{}", table::table(&rows(asked.lines), &columns));
    } else {
        let missing = columns.iter().filter_map(|column| Some((&column.name, column.missing.as_ref()?)));
        missing.for_each(|(name, why)| println!("{name}: {why}"));
    }
    profiles.iter().for_each(|profile| println!("{profile}"));
    Ok(())
}

async fn of_cordwood(
    column: &mut Column,
    asked: &Asked<'_>,
    format: Option<u8>,
    end_us: i64,
    text: &Corpus,
) -> Result<Option<String>> {
    let profile = stored::services(column, asked.lines, format, end_us, &asked.parts).await?;
    if asked.parts.contains(&Part::Searches) {
        note(&format!("{}: the other corpora", column.name));
        let bench = Corpus::Generated { lines: asked.lines };
        stored::sizes(column, CORPORA[0], &bench, format, end_us).await?;
        if text.lines() >= TEXT_LINES_MIN {
            stored::sizes(column, CORPORA[2], text, format, end_us).await?;
        }
    }
    Ok(profile)
}

async fn of_victoria(column: &mut Column, asked: &Asked<'_>, end_us: i64, text: &Corpus) -> Result<()> {
    victoria::services(column, asked.lines, end_us).await?;
    victoria::sizes(column, CORPORA[0], &Corpus::Generated { lines: asked.lines }, end_us).await?;
    if text.lines() >= TEXT_LINES_MIN {
        victoria::sizes(column, CORPORA[2], text, end_us).await?;
    }
    Ok(())
}
