//! What keeps the records of policies is remembered, and each change of it is a row of the ledger that says who. Also in a database of the version
//! before, which remembered nothing.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use cordwood_core::retention::{Catalogue, Policy, State, Tuning, WrittenBy};
use cordwood_operator::retention::Standalone;
use cordwood_store::ddl::{DdlSession, Loop};
use cordwood_store::{ledger, migrate, states};
use cordwood_tests::env::Postgres;

use super::support;

fn policy(state: State, by: &str) -> Policy {
    Policy {
        name: "shop".to_owned(),
        uid: "u".to_owned(),
        generation: 3,
        suspend: state == State::Suspended,
        legal_hold: state == State::LegalHold,
        written_by: WrittenBy {
            manager: Some("kubectl-edit, noon".to_owned()),
            releaser: Some(by.to_owned()),
        },
        ..Policy::builtin()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_change_of_what_keeps_records_is_written_once_and_names_who_let_go() -> Result<()> {
    for version in [15, 18] {
        let postgres = Postgres::start(version).await?;
        let store = support::store_of_version(&postgres, "states", 17).await?;
        let client = postgres.client_of("states").await?;
        // An older operator's row, before and after: it goes on beside this version until it is replaced.
        let older = "insert into ledger (policy, plan, step, subject, bytes, why) values ('shop', 'p', 'drop', 'blocks_c1_x', 7, 'expired')";
        client.batch_execute(older).await?;
        migrate::run(&store).await?;
        client.batch_execute(older).await?;
        let known = ledger::history(&store, Some("shop"), None).await?;
        ensure!(known.len() == 2 && known.iter().all(|entry| entry.changed_by.is_none()), "{known:?}");
        ensure!(states::read(&client).await?.is_empty());

        let session = DdlSession::open(&store, Loop::Drop).await?.context("somebody drops")?;
        let evil = "anna'; drop table ledger; --";
        for (state, changes) in [
            // Held when the version before was replaced: nobody knows since when.
            (State::LegalHold, 1),
            (State::LegalHold, 0),
            (State::Suspended, 1),
            (State::Active, 1),
            (State::Active, 0),
            (State::Suspended, 1),
        ] {
            let told = states::keep(&session, &[policy(state, evil)], &Catalogue::default()).await?;
            ensure!(told.len() == changes, "{state:?}: {told:?}");
            ensure!(states::read(&client).await? == BTreeMap::from([("shop".to_owned(), state)]));
        }
        // Deleted while it was suspended. A pass sees to it, too.
        drop(session);
        let mut retention = Standalone::new(&store, Tuning::default());
        let report = retention.pass(&[]).await?;
        ensure!(report.states.len() == 1, "{:?}", report.states);
        ensure!(retention.pass(&[]).await?.states.is_empty());

        let known = ledger::history(&store, Some("shop"), None).await?;
        let told: Vec<(&str, Option<&str>, Option<i64>)> = known
            .iter()
            .filter(|entry| entry.step == "put-state")
            .map(|entry| (entry.why.as_str(), entry.changed_by.as_deref(), entry.generation))
            .collect();
        let (wrote, let_go) = ("kubectl-edit, noon", format!("{evil} (written by kubectl-edit, noon)"));
        let expected = [
            ("Active -> LegalHold", Some(wrote), Some(3)),
            ("LegalHold -> Suspended", Some(let_go.as_str()), Some(3)),
            ("Suspended -> Active", Some(let_go.as_str()), Some(3)),
            ("Active -> Suspended", Some(wrote), Some(3)),
            ("Suspended -> Active, the policy was deleted", None, None),
        ];
        ensure!(told == expected, "{told:?}");
        ensure!(known.iter().all(|entry| entry.step != "put-state" || entry.subject == "shop"), "{known:?}");
    }
    Ok(())
}
