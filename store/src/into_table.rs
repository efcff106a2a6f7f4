//! Writes matching records as rows of a new table, for joins and other SQL tools: all fields of a record as columns, and the application's
//! own bytes as `body`.

use std::collections::HashMap;

use bytes::{BufMut, BytesMut};
use cordwood_core::entry::{Column, Entry, FIELDS};
use cordwood_core::filter::Filter;
use cordwood_core::origin::Origin;
use serde_json::value::RawValue;
use tokio_postgres::Transaction;
use tokio_postgres::error::SqlState;

use crate::connect::Store;
use crate::error::StoreError;
use crate::ring;
use crate::scope::Scope;
use crate::search::{Page, TimeRange, search};

const PAGE_RECORDS: usize = 2_000;
const PAGE_BUDGET_MS: u64 = 20_000;
/// PostgreSQL cuts names at this, silently; we refuse.
const NAME_BYTES_MAX: usize = 63;
/// Deeper JSON stays in `body` alone: PostgreSQL's parser is recursive.
const JSON_DEPTH_MAX: usize = 128;
/// Numbers beyond these stay in `body` alone too.
const NUMBER_BYTES_MAX: usize = 1000;
const NUMBER_EXPONENT_MAX: i32 = 1000;

/// Makes the table and fills it, newest records first, in one transaction. Returns how many rows it has.
///
/// # Errors
/// [`StoreError::Invalid`] when the name cannot be one or the table exists.
pub async fn write(
    store: &Store,
    scope: &Scope,
    filter: &Filter,
    range: TimeRange,
    table: &str,
) -> Result<u64, StoreError> {
    let quoted = quote(table)?;
    let mut client = store.client("cordwood into-table").await?;
    // It waits for every page of the search; what it holds is a table that nobody else knows yet.
    client
        .batch_execute("set idle_in_transaction_session_timeout = 0")
        .await
        .map_err(StoreError::sql("prepare", "a session"))?;
    let transaction = client.transaction().await.map_err(StoreError::sql("begin", "a transaction"))?;
    create(&transaction, table, &quoted).await?;
    let mut written = 0;
    let mut page = Page::first(PAGE_RECORDS);
    loop {
        let found = search(store, scope, filter, range, page, PAGE_BUDGET_MS).await?;
        let mut rows = BytesMut::with_capacity(1 << 20);
        let nowhere = Origin::default();
        for record in &found.records {
            let origin = found.origins.get(&record.origin).unwrap_or(&nowhere);
            row(&mut rows, &Entry::new(&record.as_record(), origin), &record.body)?;
        }
        let statement = format!("copy {quoted} from stdin (format csv)");
        written += ring::fill(transaction.copy_in(&statement).await, rows.freeze(), table).await?;
        match found.cursor {
            Some(cursor) => page.after = Some(cursor),
            None => break,
        }
    }
    transaction.commit().await.map_err(StoreError::sql("commit", table))?;
    Ok(written)
}

async fn create(transaction: &Transaction<'_>, table: &str, quoted: &str) -> Result<(), StoreError> {
    let mut columns: Vec<String> = FIELDS
        .iter()
        .map(|(name, column)| {
            let sql_type = match column {
                Column::Text => "text",
                Column::Timestamp => "timestamptz",
                Column::Number => "bigint",
                Column::Json => "jsonb",
                Column::Flag => "boolean",
            };
            format!("\"{}\" {sql_type}", snake_case(name))
        })
        .collect();
    columns.push("body bytea".to_owned());
    let sql = format!("create table {quoted} ({})", columns.join(", "));
    transaction.batch_execute(&sql).await.map_err(|error| {
        if error.code() == Some(&SqlState::DUPLICATE_TABLE) {
            return StoreError::Invalid(format!(
                "table {table} exists already: choose another name, or drop it first"
            ));
        }
        StoreError::sql("create table", table)(error)
    })
}

/// One CSV row. Every value is quoted; nothing at all is null.
fn row(rows: &mut BytesMut, entry: &Entry<'_>, body: &[u8]) -> Result<(), StoreError> {
    let decode = |error: serde_json::Error| StoreError::Decode {
        thing: "a record".to_owned(),
        message: error.to_string(),
    };
    let line = serde_json::to_string(entry).map_err(decode)?;
    let members: HashMap<&str, &RawValue> = serde_json::from_str(&line).map_err(decode)?;
    for (name, column) in FIELDS {
        if let Some(value) = members.get(name) {
            match column {
                Column::Text | Column::Timestamp => put(rows, &text(value.get())),
                // Above bigint it stays in the body.
                Column::Flag => put(rows, value.get()),
                Column::Number if value.get().parse::<i64>().is_err() => {}
                Column::Number => put(rows, value.get()),
                Column::Json if !is_storable(value.get()) => {}
                Column::Json => put(rows, value.get()),
            }
        }
        rows.put_u8(b',');
    }
    rows.put_slice(b"\\x");
    for byte in body {
        rows.put_slice(&HEX[usize::from(*byte)]);
    }
    rows.put_u8(b'\n');
    Ok(())
}

static HEX: [[u8; 2]; 256] = {
    let digits = *b"0123456789abcdef";
    let mut table = [[0; 2]; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = [digits[byte >> 4], digits[byte & 15]];
        byte += 1;
    }
    table
};

/// A JSON string's text; anything else as it is written. PostgreSQL's text has no NUL.
fn text(json: &str) -> String {
    let text = serde_json::from_str::<String>(json).unwrap_or_else(|_| json.to_owned());
    if text.contains('\0') { text.replace('\0', "\u{fffd}") } else { text }
}

fn put(rows: &mut BytesMut, value: &str) {
    rows.put_u8(b'"');
    let mut parts = value.split('"');
    if let Some(first) = parts.next() {
        rows.put_slice(first.as_bytes());
    }
    for part in parts {
        rows.put_slice(b"\"\"");
        rows.put_slice(part.as_bytes());
    }
    rows.put_u8(b'"');
}

/// Whether `jsonb` takes it: no NUL, no lone surrogate, no number beyond `numeric`, not too deep.
fn is_storable(json: &str) -> bool {
    if has_extreme_number(json) {
        return false;
    }
    let (mut depth, mut deepest, mut in_string, mut escaped) = (0usize, 0usize, false, false);
    for byte in json.bytes() {
        match (in_string, byte) {
            (true, _) if escaped => escaped = false,
            (true, b'\\') => escaped = true,
            (_, b'"') => in_string = !in_string,
            (false, b'{' | b'[') => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            (false, b'}' | b']') => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    if deepest > JSON_DEPTH_MAX {
        return false;
    }
    // `Value` refuses lone surrogates and numbers beyond f64.
    let Ok(value) = serde_json::from_str::<serde_json::Value>(json) else { return false };
    !has_nul(&value)
}

/// Whether a number outside of strings has an exponent or a length near `numeric`'s limits (16383 digits after the point).
/// f64 is no judge: to it 1e-20000 is 0.
fn has_extreme_number(json: &str) -> bool {
    let is_of_number = |byte: u8| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E');
    let (bytes, mut at) = (json.as_bytes(), 0);
    while at < bytes.len() {
        match bytes[at] {
            b'"' => {
                at += 1;
                while at < bytes.len() && bytes[at] != b'"' {
                    at += if bytes[at] == b'\\' { 2 } else { 1 };
                }
                at += 1;
            }
            b'-' | b'0'..=b'9' => {
                let length = bytes[at..].iter().take_while(|byte| is_of_number(**byte)).count();
                let exponent = json[at..at + length].split(['e', 'E']).nth(1);
                let is_small =
                    |text: &str| text.parse::<i32>().is_ok_and(|power| power.abs() <= NUMBER_EXPONENT_MAX);
                if length > NUMBER_BYTES_MAX || !exponent.is_none_or(is_small) {
                    return true;
                }
                at += length;
            }
            _ => at += 1,
        }
    }
    false
}

fn has_nul(value: &serde_json::Value) -> bool {
    match value {
        serde_json::Value::String(text) => text.contains('\0'),
        serde_json::Value::Array(items) => items.iter().any(has_nul),
        serde_json::Value::Object(members) => {
            members.iter().any(|(name, value)| name.contains('\0') || has_nul(value))
        }
        _ => false,
    }
}

fn quote(table: &str) -> Result<String, StoreError> {
    if table.is_empty() || table.len() > NAME_BYTES_MAX || table.contains('\0') {
        return Err(StoreError::Invalid(format!(
            "table name {table:?}: must have 1 to {NAME_BYTES_MAX} bytes and no NUL"
        )));
    }
    Ok(format!("\"{}\"", table.replace('"', "\"\"")))
}

/// `tenantSlug` -> `tenant_slug`.
fn snake_case(name: &str) -> String {
    let mut out = String::with_capacity(name.len() + 4);
    for c in name.chars() {
        if c.is_ascii_uppercase() {
            out.push('_');
        }
        out.push(c.to_ascii_lowercase());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_leave_their_quotes() {
        assert_eq!(quote("a\"; drop table x; --").unwrap(), "\"a\"\"; drop table x; --\"");
        assert!(quote("").is_err());
        assert!(quote(&"x".repeat(64)).is_err());
        assert_eq!(snake_case("tenantSlug"), "tenant_slug");
    }

    #[test]
    fn json_that_jsonb_refuses_is_left_to_the_body() {
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        let long = format!("[0.{}]", "1".repeat(20_000));
        let cases = [
            (r#"{"a":1}"#, true),
            (r#"{"a":"[[[[\"{"}"#, true),
            (r#"{"a":"\u0000"}"#, false),
            (r#"{"\u0000":1}"#, false),
            (r#"{"a":"\ud800"}"#, false),
            (r#"{"a":1e999}"#, false),
            (r#"{"a":1e-20000}"#, false),
            (r#"[0,-1E-1001]"#, false),
            (r#"{"a":1e-99999999999}"#, false),
            (r#"{"a":"\"1e-20000","b":-1.5e+10}"#, true),
            (long.as_str(), false),
            (deep.as_str(), false),
        ];
        for (json, expected) in cases {
            assert_eq!(is_storable(json), expected, "{}", &json[..json.len().min(40)]);
        }
    }
}
