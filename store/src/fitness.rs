//! Checks at the start what no part can work with: a database that cannot hold every name, or a proxy that pools transactions.
//!
//! Statements are simple queries here. Behind a proxy that pools transactions, a prepared statement and its execution can be in two
//! sessions, and PostgreSQL's error about that would not tell the user what is wrong.

use tokio_postgres::{Client, SimpleQueryMessage};

use crate::connect::Store;
use crate::error::StoreError;

/// How often both sessions are asked who they are. A proxy may by chance give each the same session of the server a few times.
const TURNS: usize = 4;

const SESSION: &str = "select pg_backend_pid()";

/// `client`: any session of `store`.
pub async fn check(store: &Store, client: &Client) -> Result<(), StoreError> {
    let [database, encoding] = ask(
        client,
        "select current_database(), current_setting('server_encoding')",
        "the database's encoding",
    )
    .await?;
    if encoding != "UTF8" {
        return Err(StoreError::Invalid(format!(
            "database {database} has the encoding {encoding}, which cannot hold every name: create it again with \
             `create database ... encoding 'UTF8' template template0`"
        )));
    }
    let other = store.client("cordwood check").await?;
    if are_pooled(client, &other).await? {
        return Err(StoreError::Invalid(
            "a proxy that pools transactions (as PgBouncer with pool_mode = transaction) lies before PostgreSQL: connect to \
             PostgreSQL itself, or pool sessions"
                .to_owned(),
        ));
    }
    Ok(())
}

/// A session that becomes another, or two that are one: a proxy gives each transaction whichever session of the server is free. Locks that
/// hold as long as a session are what fences writers and the operator.
async fn are_pooled(one: &Client, other: &Client) -> Result<bool, StoreError> {
    let [first] = ask(one, SESSION, "the session").await?;
    let [second] = ask(other, SESSION, "the session").await?;
    if first == second {
        return Ok(true);
    }
    for _ in 0..TURNS {
        // Twice each: a proxy may hand out its sessions last in first out, or in a circle.
        for (client, expected) in [(one, &first), (one, &first), (other, &second), (other, &second)] {
            let [found] = ask(client, SESSION, "the session").await?;
            if found != *expected {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

async fn ask<const N: usize>(
    client: &Client,
    sql: &str,
    what: &'static str,
) -> Result<[String; N], StoreError> {
    let answer = client.simple_query(sql).await.map_err(StoreError::sql("ask for", what))?;
    let row = answer.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    });
    let row =
        row.ok_or_else(|| StoreError::Decode { thing: what.to_owned(), message: "no row".to_owned() })?;
    Ok(std::array::from_fn(|column| row.get(column).unwrap_or_default().to_owned()))
}
