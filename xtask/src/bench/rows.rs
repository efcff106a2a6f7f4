//! Measures the baseline of storing: how fast a binary COPY writes the same records as plain rows, 5,000 in a transaction, into a table
//! without indexes. `storing` compares the writer with it and prints the rows a second.

use super::corpus::line;
use super::random::Random;
use anyhow::{Context, Result};
use std::time::{Duration, Instant};
use tokio_postgres::Client;
use tokio_postgres::binary_copy::BinaryCopyInWriter;
use tokio_postgres::types::{Json, Type};

const TRANSACTION_ROWS: usize = 5_000;

struct Row {
    time: jiff::Timestamp,
    id: i64,
    origin: i64,
    level: i16,
    message: String,
    data: serde_json::Value,
    trace: String,
}

/// Rows per second.
///
/// # Errors
/// PostgreSQL's.
pub async fn copy(client: &mut Client, rows: usize) -> Result<f64> {
    client
        .batch_execute(
            "create table bench_rows (time timestamptz, id bigint, tenant integer, origin bigint, level smallint, message text, data jsonb, trace text)",
        )
        .await?;
    let types = [
        Type::TIMESTAMPTZ,
        Type::INT8,
        Type::INT4,
        Type::INT8,
        Type::INT2,
        Type::TEXT,
        Type::JSONB,
        Type::TEXT,
    ];
    let (mut random, mut spent, mut done) = (Random::new(7), Duration::ZERO, 0);
    while done < rows {
        // Made outside of the time that counts.
        let part =
            (0..TRANSACTION_ROWS).map(|n| row((done + n) as u64, &mut random)).collect::<Result<Vec<_>>>()?;
        let began = Instant::now();
        let transaction = client.transaction().await?;
        let sink = transaction.copy_in("copy bench_rows from stdin (format binary)").await?;
        let mut writer = std::pin::pin!(BinaryCopyInWriter::new(sink, &types));
        for row in &part {
            let data = Json(&row.data);
            writer
                .as_mut()
                .write(&[
                    &row.time,
                    &row.id,
                    &7_i32,
                    &row.origin,
                    &row.level,
                    &row.message,
                    &data,
                    &row.trace,
                ])
                .await?;
        }
        writer.as_mut().finish().await?;
        transaction.commit().await?;
        spent += began.elapsed();
        done += part.len();
    }
    client.batch_execute("drop table bench_rows").await?;
    Ok(done as f64 / spent.as_secs_f64())
}

fn row(n: u64, random: &mut Random) -> Result<Row> {
    let mut text = Vec::new();
    line(n, (n % 200) as usize, random, &mut text);
    let mut data: serde_json::Value = serde_json::from_slice(&text).context("a generated line is JSON")?;
    let fields = data.as_object_mut().context("an object")?;
    let mut take =
        |key: &str| fields.remove(key).and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default();
    let (message, trace, _) = (take("msg"), take("trace_id"), take("level"));
    Ok(Row {
        time: jiff::Timestamp::from_microsecond(1_795_000_000_000_000 + n as i64)?,
        id: n as i64,
        origin: (n % 200) as i64,
        level: 2,
        message,
        data,
        trace,
    })
}
