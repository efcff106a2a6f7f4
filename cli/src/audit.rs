//! `cordwood audit`: what became of every stream's bytes. Exit code 1 when something is lost.

use std::io::Write;

use anyhow::Context;
use cordwood_service::Failure;
use cordwood_store::audit::{self, StreamAudit, WholeAudit};
use cordwood_store::commit::StreamCounts;
use cordwood_store::scope::{AdminReason, Scope};
use serde_json::json;

use crate::args::{AuditArgs, TableOrJson};
use crate::database::Database;
use crate::output::columns::{Align, Columns, bytes, counted, grouped};
use crate::output::{ColorChoice, Style};
use crate::{Outcome, query};

pub async fn run(args: AuditArgs, color: ColorChoice) -> Result<Outcome, Failure> {
    let database = Database::open(&args.database, false).await?;
    let mut streams = audit::streams(&database.store, &Scope::all(AdminReason::CommandLine))
        .await
        .map_err(query::failure)?;
    let whole = audit::whole(&database.store).await.map_err(query::failure)?;
    if let Some(part) = &args.stream {
        streams.retain(|stream| {
            [stream.stream.as_str(), &stream.pod, &stream.path]
                .iter()
                .any(|name| name.contains(part.as_str()))
        });
    }
    let mut total = StreamCounts::default();
    for stream in &streams {
        total += stream.counts;
    }
    let text = match args.output {
        TableOrJson::Table if streams.is_empty() && (args.stream.is_some() || whole.is_empty()) => {
            match &args.stream {
                Some(part) => format!("no stream whose name contains {part:?}\n"),
                None => "no streams yet: nothing has been stored\n".to_owned(),
            }
        }
        TableOrJson::Table => table(&streams, &total, &whole, Style::stdout(color)),
        TableOrJson::Json => json_lines(&streams, &total, &whole),
    };
    std::io::stdout().write_all(text.as_bytes()).context("write to stdout").map_err(Failure::Run)?;
    let lost = total.lost_bytes > 0 || whole.messages_missing > 0;
    Ok(if lost { Outcome::Bad } else { Outcome::Done })
}

fn table(streams: &[StreamAudit], total: &StreamCounts, whole: &WholeAudit, style: Style) -> String {
    let right = Align::Right;
    let mut columns = Columns::new(&[
        ("STREAM", Align::Left),
        ("TENANT", Align::Left),
        ("READ", right),
        ("LINES", right),
        ("STORED", right),
        ("GATED", right),
        ("LIMITED", right),
        ("REJECTED", right),
        ("DUPLICATES", right),
        ("LOST", right),
    ]);
    // A stream's files are summed up; `-o json` has each.
    let mut at = 0;
    let mut count = 0;
    while at < streams.len() {
        let first = &streams[at];
        let mut counts = StreamCounts::default();
        let mut files = 0;
        while at < streams.len() && streams[at].stream == first.stream {
            counts += streams[at].counts;
            files += 1;
            at += 1;
        }
        count += 1;
        let name = if files > 1 { format!("{} ({files} files)", name(first)) } else { name(first) };
        columns.row(cells(name, first.tenant.clone(), &counts));
    }
    if whole.foreign_records > 0 {
        let counts = StreamCounts {
            records: whole.foreign_records,
            bytes: whole.foreign_bytes,
            ..StreamCounts::default()
        };
        columns.row(cells("other producers".to_owned(), String::new(), &counts));
    }
    columns.row(cells(format!("total of {}", counted(count, "stream")), String::new(), total));
    let mut out = columns.render(style);
    let mut notes = vec![format!("{} dead letters", grouped(whole.dead_letters))];
    if whole.losses > 0 {
        notes.push(format!("{} recorded losses", grouped(whole.losses)));
    }
    if whole.messages_missing > 0 {
        notes.push(format!("{} messages that Kafka did not give", grouped(whole.messages_missing)));
    }
    if whole.carried_records > 0 {
        notes.push(format!("{} records wait for their table partition", grouped(whole.carried_records)));
    }
    if whole.expired_records > 0 {
        notes.push(format!(
            "{} records were past their retention when sealed",
            grouped(whole.expired_records)
        ));
    }
    out.push_str(&style.dim(&notes.join(", ")));
    out.push('\n');
    let verdict = if total.lost_bytes == 0 && whole.messages_missing == 0 {
        style.good("nothing lost")
    } else if total.lost_bytes == 0 {
        style.bad("LOST messages of Kafka: table offset_gaps names the topic partitions and the offsets")
    } else {
        style.bad(&format!(
            "LOST {}: `cordwood query data.cordwood=loss` shows where and why",
            bytes(total.lost_bytes)
        ))
    };
    out.push_str(&verdict);
    out.push('\n');
    out
}

/// What a person recognises.
fn name(stream: &StreamAudit) -> String {
    let io = stream.stream.as_str().rsplit('/').next().unwrap_or_default();
    if !stream.pod.is_empty() {
        return format!("{}/{}/{} {io}", stream.namespace, stream.pod, stream.container);
    }
    if !stream.path.is_empty() {
        return stream.path.clone();
    }
    stream.stream.to_string()
}

fn cells(name: String, tenant: String, counts: &StreamCounts) -> Vec<String> {
    let numbers =
        [counts.lines, counts.records, counts.gated, counts.limited, counts.rejected, counts.duplicates];
    let mut cells = vec![name, tenant, bytes(counts.bytes)];
    cells.extend(numbers.map(grouped));
    cells.push(bytes(counts.lost_bytes));
    cells
}

fn json_lines(streams: &[StreamAudit], total: &StreamCounts, whole: &WholeAudit) -> String {
    let mut out = String::new();
    for stream in streams {
        let mut line = json!({
            "stream": stream.stream.as_str(), "file": stream.file.to_string(), "topicPartition": stream.topic_partition,
            "tenant": stream.tenant, "namespace": stream.namespace, "pod": stream.pod, "container": stream.container,
            "service": stream.service, "path": stream.path, "positionEnd": stream.position_end,
            "updated": cordwood_core::entry::timestamp(stream.updated_us),
        });
        merge(&mut line, counts(&stream.counts));
        out.push_str(&line.to_string());
        out.push('\n');
    }
    let mut line = json!({
        "total": true, "deadLetters": whole.dead_letters, "losses": whole.losses, "messagesMissing": whole.messages_missing,
        "foreignRecords": whole.foreign_records, "foreignBytes": whole.foreign_bytes,
        "expiredRecords": whole.expired_records, "carriedRecords": whole.carried_records,
    });
    merge(&mut line, counts(total));
    out.push_str(&line.to_string());
    out.push('\n');
    out
}

fn counts(counts: &StreamCounts) -> serde_json::Value {
    json!({
        "bytes": counts.bytes, "lines": counts.lines, "stored": counts.records, "gated": counts.gated,
        "limited": counts.limited, "rejected": counts.rejected, "duplicates": counts.duplicates,
        "lostBytes": counts.lost_bytes,
    })
}

fn merge(into: &mut serde_json::Value, from: serde_json::Value) {
    if let (serde_json::Value::Object(into), serde_json::Value::Object(from)) = (into, from) {
        into.extend(from);
    }
}
