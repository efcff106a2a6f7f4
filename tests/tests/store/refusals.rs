//! What Cordwood cannot work with, on real parts: it says so, and has changed nothing.

use anyhow::{Context, Result, ensure};
use cordwood_store::lane::Lane;
use cordwood_store::{Settings, Store, StoreError, migrate};
use cordwood_tests::env::{PgBouncer, Postgres};

/// A migration and a check give the same error, once with all of these words.
async fn refused(store: &Store, words: &[&str]) -> Result<()> {
    for answer in [migrate::run(store).await.map(drop), migrate::check(store).await] {
        let error = answer.err().context("it was taken")?;
        let text = error.to_string();
        ensure!(matches!(error, StoreError::Invalid(_)), "another error: {text}");
        for word in words {
            ensure!(text.contains(word), "{text:?} does not say {word:?}");
        }
    }
    Ok(())
}

const TABLES: &str = "select count(*) from pg_class where relnamespace = 'public'::regnamespace";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_cannot_hold_every_name_is_refused() -> Result<()> {
    let postgres = Postgres::start(15).await?;
    let admin = postgres.client().await?;
    for encoding in ["SQL_ASCII", "LATIN1", "EUC_JP"] {
        let database = format!("of_{}", encoding.to_lowercase());
        let create =
            format!("create database {database} encoding '{encoding}' locale 'C' template template0");
        admin.batch_execute(&create).await?;
        let store = Store::connect(&Settings::url(postgres.url_of(&database))).await?;
        refused(&store, &[&database, encoding, "UTF8"]).await?;
        let made: i64 = postgres.client_of(&database).await?.query_one(TABLES, &[]).await?.get(0);
        ensure!(made == 0, "{encoding}: {made} relations were made");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_that_pools_transactions_is_refused() -> Result<()> {
    let postgres = Postgres::start(15).await?;
    postgres.database("pooled").await?;
    // With one session of the server and with several, handed out last in first out and in a circle.
    for more in ["", "min_pool_size = 4", "min_pool_size = 4\nserver_round_robin = 1"] {
        let settings = format!("pool_mode = transaction\n{more}");
        let transactions = PgBouncer::start(&postgres, &settings).await?;
        for _ in 0..5 {
            let store = Store::connect(&Settings::url(transactions.url_of(&postgres, "pooled"))).await?;
            refused(&store, &["pools transactions", "PgBouncer"]).await.with_context(|| settings.clone())?;
        }
    }
    let made: i64 = postgres.client_of("pooled").await?.query_one(TABLES, &[]).await?.get(0);
    ensure!(made == 0, "{made} relations were made");

    // A proxy that pools sessions is none of our business: a lane each.
    let sessions = PgBouncer::start(&postgres, "pool_mode = session").await?;
    let store = Store::connect(&Settings::url(sessions.url_of(&postgres, "pooled"))).await?;
    migrate::run(&store).await?;
    migrate::check(&store).await?;
    let (one, two) = (Lane::claim(&store).await?, Lane::claim(&store).await?);
    ensure!((one.number(), two.number()) == (1, 2), "lanes {} and {}", one.number(), two.number());
    Ok(())
}
