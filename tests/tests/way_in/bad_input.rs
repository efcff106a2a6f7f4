//! The bad-input lists (lines of a container's log, bodies, messages on the topic) through the whole pipeline: nothing
//! panics, no neighbour is lost, each is stored as it was and flagged, or is a dead letter.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use cordwood_core::batch::KAFKA_HEADER;
use cordwood_core::level::Level;
use cordwood_core::record::Flags;
use cordwood_tests::env::wait_for;
use cordwood_tests::otlp::Otlp;
use cordwood_tests::pipeline::{Pipeline, PipelineOptions, TOPIC};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Header, Headers, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::{Message, Offset, TopicPartitionList};
use serde_json::Value;

use super::stored::{Stored, records};

/// What a line of the file becomes: (what is written, what is stored).
struct Row {
    written: Vec<u8>,
    stored: Option<(Vec<u8>, Flags)>,
}

/// The runtime's time of every good line.
fn time() -> String {
    format!("{:.9}", jiff::Timestamp::now())
}

fn good(io: &str, body: &[u8]) -> Row {
    let mut written = format!("{} {io} F ", time()).into_bytes();
    written.extend_from_slice(body);
    let flags = if io == "stderr" { Flags::STDERR } else { Flags::default() };
    Row { written, stored: Some((body.to_vec(), flags)) }
}

/// A line that is not a container line: stored whole.
fn bad(line: impl Into<Vec<u8>>) -> Row {
    let written = line.into();
    Row { stored: Some((written.clone(), Flags::PARSE_ERROR)), written }
}

/// Parts of one record, which comes out with the last.
fn parts(parts: &[&[u8]]) -> Vec<Row> {
    let last = parts.len() - 1;
    let part = |(index, part): (usize, &&[u8])| {
        let tag = if index < last { "P" } else { "F" };
        let mut written = format!("{} stdout {tag} ", time()).into_bytes();
        written.extend_from_slice(part);
        let stored = (index == last).then(|| (parts.concat(), Flags::default()));
        Row { written, stored }
    };
    parts.iter().enumerate().map(part).collect()
}

fn lines() -> Vec<Row> {
    let t = time();
    let huge = vec![b'z'; 10 << 20];
    let pieces: Vec<&[u8]> = huge.chunks(16 << 10).collect();
    let mut rows = vec![
        bad(""),
        bad(" "),
        bad("\r"),
        bad("hello"),
        bad(format!("{t} stdout hello world")),
        bad(format!("{t} stdfoo F x")),
        bad(format!("{t} stdout")),
        bad("yesterday stdout F x"),
        bad("0000-01-01T00:00:00Z stdout F x"),
        bad("9999-12-31T23:59:59.999999999Z stdout F x"),
        bad(b"\0\0\0".to_vec()),
        bad(b"\xff\xfe stdout F x".to_vec()),
        bad(r#"{"log":"x\n","stream":"stdout","time":"2026-11-21T02:24:31Z"}"#),
        Row {
            written: format!("{}Z stdout F no fraction", &t[..19]).into_bytes(),
            stored: Some((b"no fraction".to_vec(), Flags::default())),
        },
        Row { written: format!("{t} stdout F").into_bytes(), stored: Some((Vec::new(), Flags::default())) },
        Row {
            written: format!("{t} stdout F:x:y more tags").into_bytes(),
            stored: Some((b"more tags".to_vec(), Flags::default())),
        },
        Row { written: format!("{t} stdout P:x ha").into_bytes(), stored: None },
        Row {
            written: format!("{t} stdout F lf").into_bytes(),
            stored: Some((b"half".to_vec(), Flags::default())),
        },
        good("stdout", b"carriage return\r"),
        good("stdout", b"nul \0 nul"),
        good("stdout", b"\xff\xfe\x80"),
        good("stdout", &huge),
    ];
    rows.extend(parts(&[b"caf\xc3", b"\xa9"]));
    rows.extend(parts(&pieces));
    for body in bodies() {
        rows.push(good("stdout", &body));
    }
    // A good neighbour on either side of each, on the same stream.
    let mut all = Vec::new();
    for (index, row) in rows.into_iter().enumerate() {
        let inside_parts = row.stored.is_none();
        all.push(row);
        if !inside_parts {
            all.push(good("stdout", format!("neighbour {index}").as_bytes()));
        }
    }
    all
}

fn bodies() -> Vec<Vec<u8>> {
    let many: String = (0..1_000_000).map(|key| format!("\"{key:x}\":0,")).collect();
    let texts = [
        format!("{{\"level\":\"error\",\"deep\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000)),
        "{\"a\":".repeat(100_000),
        format!("{{{many}\"level\":\"warn\"}}"),
        r#"{"level":"warn","level":"error","msg":"a","msg":"b"}"#.to_owned(),
        r#"{"msg":"nul \u0000, lone \ud800 surrogate"}"#.to_owned(),
        format!(r#"{{"big":1e999,"digits":{}}}"#, "9".repeat(300)),
        r#"{"tenant":"other","tenantId":"other","cordwood.tenant":"other","kubernetes":{"namespace_name":"kube-system"},"namespace":"x"}"#.to_owned(),
        r#"{"__proto__":{"admin":true},"constructor":1,"msg":"<script>alert(1)</script>"}"#.to_owned(),
        "\u{1b}[31mred\u{1b}[0m \u{1b}]0;title\u{7}".to_owned(),
        "'; drop table blocks; --".to_owned(),
        r#"{"user_id":"u\u0000","trace_id":"\ud800","service":"s\u0000"}"#.to_owned(),
    ];
    texts.into_iter().map(String::into_bytes).collect()
}

fn write(path: &Path, rows: &[Row]) -> Result<()> {
    let mut bytes = Vec::new();
    for row in rows {
        bytes.extend_from_slice(&row.written);
        bytes.push(b'\n');
    }
    fs::write(path, bytes).with_context(|| format!("write {}", path.display()))
}

fn expected(rows: &[Row]) -> Vec<(Vec<u8>, Flags)> {
    rows.iter().filter_map(|row| row.stored.clone()).collect()
}

/// Body and flags of a pod's records, in order.
fn of_pod(stored: &[Stored], pod: &str) -> Vec<(Vec<u8>, Flags)> {
    stored.iter().filter(|record| record.pod == pod).map(|r| (r.body.clone(), r.flags)).collect()
}

#[track_caller]
fn same(seen: &[(Vec<u8>, Flags)], wanted: &[(Vec<u8>, Flags)]) {
    let short = |body: &[u8]| String::from_utf8_lossy(&body[..body.len().min(80)]).into_owned();
    for (index, (seen, wanted)) in seen.iter().zip(wanted).enumerate() {
        // Which bodies name a level is not this test's subject.
        assert!(
            seen.0 == wanted.0 && seen.1.without(Flags::UNLEVELED) == wanted.1,
            "record {index}: stored {} bytes {:?} {:?}, written {} bytes {:?} {:?}",
            seen.0.len(),
            seen.1,
            short(&seen.0),
            wanted.0.len(),
            wanted.1,
            short(&wanted.0)
        );
    }
    assert_eq!(seen.len(), wanted.len(), "records");
}

/// Messages that are no records: each a dead letter.
async fn send_poison(pipeline: &Pipeline) -> Result<u64> {
    let producer: FutureProducer =
        pipeline.kafka.client_config().set("acks", "all").create().context("create a producer")?;
    let marked = || OwnedHeaders::new().insert(Header { key: KAFKA_HEADER, value: Some(&b"1"[..]) });
    let foreign_as_ours = Otlp::ready()?.write("forged")?.0;
    let poison: [(&[u8], OwnedHeaders); 4] = [
        (b"not protobuf at all", OwnedHeaders::new()),
        (b"\x0a\xff\xff\xff\xff\x0f", marked()),
        (&foreign_as_ours, marked()),
        (b"\x0a\x7f", OwnedHeaders::new()),
    ];
    for (payload, headers) in &poison {
        let record =
            FutureRecord::<(), [u8]>::to(TOPIC).partition(0).payload(*payload).headers(headers.clone());
        producer.send(record, Duration::from_secs(20)).await.map_err(|(error, _)| error)?;
    }
    Ok(poison.len() as u64)
}

async fn send_foreign(pipeline: &Pipeline, message: &[u8]) -> Result<()> {
    let producer: FutureProducer =
        pipeline.kafka.client_config().set("acks", "all").create().context("create a producer")?;
    let record = FutureRecord::<(), [u8]>::to(TOPIC).partition(0).payload(message);
    producer.send(record, Duration::from_secs(20)).await.map_err(|(error, _)| error)?;
    Ok(())
}

/// Every message of the topic that an agent wrote.
fn agent_messages(pipeline: &Pipeline) -> Result<Vec<Vec<u8>>> {
    let mut config = pipeline.kafka.client_config();
    let consumer: BaseConsumer =
        config.set("group.id", "foreign-reader").create().context("create a consumer")?;
    let limit = Duration::from_secs(10);
    let metadata = consumer.fetch_metadata(Some(TOPIC), limit)?;
    let (mut list, mut left) = (TopicPartitionList::new(), 0);
    for partition in metadata.topics().iter().flat_map(|topic| topic.partitions()) {
        let (from, end) = consumer.fetch_watermarks(TOPIC, partition.id(), limit)?;
        left += end - from;
        list.add_partition_offset(TOPIC, partition.id(), Offset::Beginning)?;
    }
    consumer.assign(&list)?;
    let mut messages = Vec::new();
    while left > 0 {
        let message = consumer.poll(limit).context("the topic ended early")??;
        left -= 1;
        let ours = message.headers().is_some_and(|headers| headers.iter().any(|h| h.key == KAFKA_HEADER));
        if ours && let Some(payload) = message.payload() {
            messages.push(payload.to_vec());
        }
    }
    Ok(messages)
}

#[tokio::test(flavor = "multi_thread")]
async fn through_the_whole_pipeline() -> Result<()> {
    let tenants = vec![("shop".to_owned(), "acme".to_owned())];
    let options = PipelineOptions { topic_partitions: 2, tenants, ..PipelineOptions::default() };
    let mut pipeline = Pipeline::prepare(options).await?;
    let folder = |pod: &str| -> Result<std::path::PathBuf> {
        let folder =
            pipeline.pods().join(format!("shop_{pod}_11111111-0000-4000-8000-{:012}", pod.len())).join("app");
        fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
        Ok(folder)
    };

    // A container of the kubelet's, whose last line's end lies in the next file.
    let cri_folder = folder("bad-lines")?;
    let mut rows = lines();
    let split = parts(&[b"begun before rotation,", b" ended after"]);
    let [begun, ended] = <[Row; 2]>::try_from(split).map_err(|_| anyhow::anyhow!("two parts"))?;
    rows.push(begun);
    write(&cri_folder.join("0.log.20261121-000000"), &rows)?;
    let after = vec![ended, good("stdout", b"the last line")];
    write(&cri_folder.join("0.log"), &after)?;
    rows.extend(after);

    // stdout and stderr, part by part in turn.
    let mixed_folder = folder("mixed")?;
    let t = time();
    let line = |io: &str, tag: &str, text: &str| format!("{t} {io} {tag} {text}\n");
    let mixed = [
        line("stdout", "P", "out 1, "),
        line("stderr", "P", "err 1, "),
        line("stdout", "P", "out 2, "),
        line("stderr", "F", "err 2"),
        line("stdout", "F", "out 3"),
    ];
    fs::write(mixed_folder.join("0.log"), mixed.concat())?;

    // A container of Docker's.
    let docker_folder = folder("docker")?;
    let docker =
        |log: &str| format!("{{\"log\":{},\"stream\":\"stdout\",\"time\":\"{t}\"}}", Value::from(log));
    let docker_lines = [
        docker("first\n"),
        "not json".into(),
        docker("half "),
        docker("and half\n"),
        "{\"log\":5}".into(),
        docker("last\n"),
    ];
    fs::write(docker_folder.join("0.log"), docker_lines.join("\n") + "\n")?;

    pipeline.start_agent()?;
    pipeline.start_writer()?;
    let wanted = expected(&rows);
    let lines_total = wanted.len() as u64 + 2 + 5;
    pipeline.drained(lines_total, Duration::from_secs(120)).await?;

    let (foreign, wrote) = Otlp::ready()?.write("foreign-run")?;
    let poisoned = send_poison(&pipeline).await?;
    send_foreign(&pipeline, &foreign).await?;

    let client = pipeline.postgres.client().await?;
    let all = lines_total as usize + wrote.len();
    let stored = wait_for("the foreign records", Duration::from_secs(60), || async {
        let stored = records(&client).await?;
        ensure!(stored.len() >= all, "{} of {all} records are stored", stored.len());
        Ok(stored)
    })
    .await?;
    pipeline.check()?;

    same(&of_pod(&stored, "bad-lines"), &wanted);
    let mut mixed = of_pod(&stored, "mixed");
    mixed.sort_by(|a, b| a.0.cmp(&b.0));
    let both = [("err 1, err 2", Flags::STDERR), ("out 1, out 2, out 3", Flags::default())];
    same(&mixed, &both.map(|(body, flags)| (body.as_bytes().to_vec(), flags)));
    let docker = [
        ("first", Flags::default()),
        ("not json", Flags::PARSE_ERROR),
        ("half and half", Flags::default()),
        ("{\"log\":5}", Flags::PARSE_ERROR),
        ("last", Flags::default()),
    ];
    same(&of_pod(&stored, "docker"), &docker.map(|(body, flags)| (body.as_bytes().to_vec(), flags)));
    for record in &stored {
        let tenant = if record.pod == "foreign-0" { "unassigned" } else { "acme" };
        assert_eq!(
            record.tenant,
            tenant,
            "{:?}",
            String::from_utf8_lossy(&record.body[..record.body.len().min(80)])
        );
    }
    let level_of = |start: &str| {
        stored.iter().find(|record| record.body.starts_with(start.as_bytes())).map(|record| record.level)
    };
    assert_eq!(level_of("{\"level\":\"error\",\"deep\""), Some(Level::Error));
    assert_eq!(level_of("{\"0\":0,"), Some(Level::Warn));
    assert_eq!(level_of("{\"level\":\"warn\",\"level\""), Some(Level::Warn));

    let foreign: Vec<&Stored> = stored.iter().filter(|record| record.pod == "foreign-0").collect();
    assert_eq!(foreign.len(), wrote.len());
    for (record, wrote) in foreign.iter().zip(&wrote) {
        let body = String::from_utf8_lossy(&record.body);
        assert!(body.contains(&wrote.contains), "{body}");
        assert_eq!(record.level.as_str(), wrote.level, "{body}");
    }
    let row = client
        .query_one("select count(*), count(*) filter (where reason = '') from dead_letters", &[])
        .await?;
    assert_eq!(
        (row.get::<_, i64>(0).cast_unsigned(), row.get::<_, i64>(1)),
        (poisoned, 0),
        "dead letters, and those without a reason"
    );

    // The same lines, read from the topic by a program that knows nothing of us.
    let messages = agent_messages(&pipeline)?;
    let genuine: Vec<Vec<u8>> = messages
        .into_iter()
        .filter(|message| {
            let message = bytes::Bytes::from(message.clone());
            cordwood_core::batch::decode(&message, cordwood_core::batch::Provenance::Agent).is_ok()
        })
        .collect();
    let seen = Otlp::ready()?.read(&genuine)?;
    let texts: Vec<&str> = seen
        .iter()
        .filter(|row| row.resource["k8s.pod.name"] == "bad-lines")
        .filter_map(|row| row.body.as_str())
        .collect();
    let wanted_texts: Vec<&str> =
        wanted.iter().filter_map(|(body, _)| std::str::from_utf8(body).ok()).collect();
    assert_eq!(texts.len(), wanted_texts.len());
    assert!(texts == wanted_texts, "the topic's bodies are the lines' own");
    for row in &seen {
        assert_eq!(row.resource["cordwood.tenant"], "acme");
        assert_eq!(row.resource["k8s.namespace.name"], "shop");
        assert_eq!(row.scope["name"], "cordwood.agent");
        assert!(row.observed > 0 && row.time > 0);
    }
    Ok(())
}
