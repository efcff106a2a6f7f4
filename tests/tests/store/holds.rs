//! Legal holds by match on real PostgreSQL: what they match is known of what this version sealed and of what the version before did; tables that
//! are told to go do not; sealing keeps what a hold matches and its class does not.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use cordwood_core::retention::{
    Class, ClassId, HeldLeaf, Hold, LeafRef, Match, Planned, Policy, State, Step, Tuning,
};
use cordwood_operator::retention::{Standalone, kept_tuning};
use cordwood_store::ddl::{self, DdlSession, Loop};
use cordwood_store::{catalogue, holds, migrate, naming, states};
use cordwood_tests::env::Postgres;
use tokio_postgres::Client;

use super::support::{self, HOUR_US, Lines};
use super::{seal_once, start_writer};

fn policy(tenants: &[&str], namespaces: &[&str]) -> Policy {
    let globs = |globs: &[&str]| globs.iter().map(|glob| (*glob).to_owned()).collect();
    let matches = Match { tenants: globs(tenants), namespaces: globs(namespaces), ..Match::default() };
    Policy { name: "case".to_owned(), generation: 1, matches, legal_hold: true, ..Policy::builtin() }
}

/// What a hold would find: by leaf, how many records.
async fn found(
    client: &Client,
    tenants: &[&str],
    namespaces: &[&str],
) -> Result<BTreeMap<(i32, i64), Option<i64>>> {
    let held = catalogue::look_for(client, &[policy(tenants, namespaces)]).await?.held;
    ensure!(held.iter().all(|held| held.policy == "case"), "{held:?}");
    Ok(held
        .into_iter()
        .map(|HeldLeaf { class, from_us, records, .. }| ((class.0, from_us), records))
        .collect())
}

/// The same, as the blocks themselves say.
async fn truth(client: &Client, tenant: &str) -> Result<BTreeMap<(i32, i64), Option<i64>>> {
    let rows = client
        .query(
            "select b.class, l.time_from, sum(b.count)::bigint from blocks b
             join leaves l on l.class = b.class and b.time_to >= l.time_from and b.time_to < l.time_to
             where b.tenant = $1 group by 1, 2",
            &[&tenant],
        )
        .await?;
    let row = |row: &tokio_postgres::Row| {
        ((row.get(0), row.get::<_, jiff::Timestamp>(1).as_microsecond()), Some(row.get(2)))
    };
    Ok(rows.iter().map(row).collect())
}

/// A block of the tenant `old` in DEBUG's first leaf, as the version before sealed it: it named tenants, and no namespace.
const SEALED_BY_OLDER: &str = "with leaf as (select * from leaves where class = 1 order by time_from limit 1),
      block as (insert into blocks (id, class, tenant, count, time_from, time_to, level_mask, raw_bytes, bloom, payload)
        select 1, 1, 'old', 5, time_from, time_from, 1, 1, '\\x00', '\\x00' from leaf),
      whose as (insert into leaf_tenants (tenant, class, time_from) select 'old', 1, time_from from leaf)
    insert into sealed_leaves (class, time_from, blocks, bytes, oldest, records, newest, counted_blocks)
      select 1, time_from, 1, 8192, time_from, 5, time_from, 1 from leaf";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_hold_matches_is_known_whichever_version_sealed_it_and_stays() -> Result<()> {
    for version in [15, 18] {
        let postgres = Postgres::start(version).await?;
        let store = support::store_of_version(&postgres, "holds", 16).await?;
        let client = postgres.client_of("holds").await?;
        support::classes(&client).await?;
        support::leaves(&client, 3, 2).await?;
        client.batch_execute(SEALED_BY_OLDER).await?;
        client.batch_execute("update classes set legal_hold = true where id = 4").await?;
        migrate::run(&store).await?;
        let before = catalogue::look(&client).await?;
        let legal = |class: &Class| class.legal_hold == (class.id == ClassId(4));
        ensure!(before.holds.is_empty() && before.held.is_empty() && before.classes.iter().all(legal));

        let running = start_writer(&store)?;
        let mut streams: Vec<Lines> = (0..2).map(Lines::new).collect();
        for stream in [0, 1, 0] {
            let lines = &mut streams[stream];
            lines.age_us = HOUR_US;
            running.sender.send(lines.message(50)).ok().context("the queue is closed")?.await?;
            let round = seal_once(&store).await?;
            ensure!(round.records == 50, "{round:?}");
        }
        let old = before.leaves_of(ClassId(1)).first().context("no leaf")?.key();
        let by_tenant = found(&client, &["tenant-0"], &[]).await?;
        let expected = truth(&client, "tenant-0").await?;
        ensure!(by_tenant == expected && !expected.is_empty(), "{by_tenant:?} {expected:?}");
        // Of what was sealed before, the tenant alone is known.
        let by_namespace = found(&client, &[], &["ns-1"]).await?;
        let mut expected = truth(&client, "tenant-1").await?;
        expected.insert((1, old.from_us), None);
        ensure!(by_namespace == expected, "{by_namespace:?} {expected:?}");
        let rows: [(&[&str], &[&str], usize); 6] = [
            (&["tenant-?"], &["ns-0"], truth(&client, "tenant-0").await?.len()),
            (&["tenant-0"], &["ns-1"], 0),
            (&["tenant_0"], &[], 0),
            (&["*"], &["pay"], 1),
            (&["old"], &[], 1),
            (&["ol?"], &["anything"], 1),
        ];
        for (tenants, namespaces, leaves) in rows {
            let found = found(&client, tenants, namespaces).await?;
            ensure!(found.len() == leaves, "{tenants:?} {namespaces:?}: {found:?}");
        }
        // What the version before sealed is read; what cannot be read stays as it is.
        client
            .batch_execute("delete from leaf_namespaces; update sealed_leaves set named_blocks = null")
            .await?;
        ensure!(found(&client, &["tenant-1"], &["pay"]).await?.values().all(Option::is_none));
        ensure!(!found(&client, &["tenant-1"], &["pay"]).await?.is_empty());
        let mut create = DdlSession::open(&store, Loop::Create).await?.context("somebody creates")?;
        let mut drop = DdlSession::open(&store, Loop::Drop).await?.context("somebody drops")?;
        let named = naming::name(&mut drop).await?;
        ensure!(named > 0 && naming::name(&mut drop).await? == 0, "{named}");
        let again = found(&client, &[], &["ns-1"]).await?;
        ensure!(again == expected, "{again:?} {expected:?}");
        ensure!(found(&client, &["tenant-1"], &["pay"]).await?.is_empty());
        // A sealer of an even older version goes on: nobody knows what it put where.
        client.batch_execute("update ring_ctl set round = round + 1").await?;
        ensure!(found(&client, &["nobody"], &[]).await?.len() == before.leaves.len());
        client.batch_execute("update ring_ctl set round = round - 1").await?;
        ensure!(found(&client, &["nobody"], &[]).await?.is_empty());

        sealing_keeps_what_a_hold_matches(&client, &store, &running, &mut create).await?;
        running.stop.cancel();
        running.task.await??;
        tables_stay(&client, &mut create, &mut drop, old).await?;
    }
    Ok(())
}

fn case(tenants: &[&str]) -> Hold {
    Hold::of(&policy(tenants, &[])).expect("it names tenants")
}

/// A step that somebody planned.
fn planned(step: Step) -> Planned {
    Planned::new(step, "case", "a test")
}

/// Classes that keep nothing for longer than a millisecond.
async fn sealing_keeps_what_a_hold_matches(
    client: &Client,
    store: &cordwood_store::Store,
    running: &super::Running,
    session: &mut DdlSession,
) -> Result<()> {
    client
        .batch_execute(
            "update classes set retention_us = 1000, legal_hold = false;
             update routes set body = (select jsonb_agg(jsonb_set(r, '{retention_us}',
               '{\"debug\": 1000, \"info\": 1000, \"warn\": 1000, \"error\": 1000}')) from jsonb_array_elements(body) r)",
        )
        .await?;
    ddl::apply(session, &planned(Step::PutHold(case(&["tenant-0"]))), "plan-1").await?;
    ensure!(holds::read(client).await? == [case(&["tenant-0"])]);
    for (stream, expired) in [(3, 0), (4, 50)] {
        let mut lines = Lines::new(stream);
        running.sender.send(lines.message(50)).ok().context("the queue is closed")?.await?;
        let round = seal_once(store).await?;
        ensure!(
            (round.expired, round.records + round.expired) == (expired, 50),
            "stream {stream}: {round:?}"
        );
    }
    ddl::apply(session, &planned(Step::LiftHold { policy: "case".to_owned() }), "plan-2").await?;
    ensure!(holds::read(client).await?.is_empty());
    Ok(())
}

/// All of this has expired; the hold keeps it, attached or detached, until it is lifted. The ledger says so.
async fn tables_stay(
    client: &Client,
    create: &mut DdlSession,
    drop: &mut DdlSession,
    old: LeafRef,
) -> Result<()> {
    let refused = async |session: &mut DdlSession, step: Step| -> Result<()> {
        let error = ddl::apply(session, &planned(step), "").await.err().context("it was done")?;
        ensure!(format!("{error:?}").contains("the legal hold of policy case"), "{error:?}");
        Ok(())
    };
    let put = |tenants: &[&str]| planned(Step::PutHold(case(tenants)));
    let lift = planned(Step::LiftHold { policy: "case".to_owned() });
    ddl::apply(create, &put(&["old"]), "").await?;
    refused(drop, Step::Detach(old)).await?;
    // A change of the hold frees what it no longer matches.
    ddl::apply(create, &put(&["tenant-0"]), "").await?;
    ddl::apply(drop, &planned(Step::Detach(old)), "").await?;
    ddl::apply(create, &put(&["old"]), "").await?;
    refused(drop, Step::Drop(old)).await?;
    ddl::apply(create, &lift, "").await?;
    ddl::apply(drop, &planned(Step::Drop(old)), "").await?;
    ensure!(catalogue::read(client).await?.leaf(old).is_none());
    let steps = "select string_agg(step || ' ' || split_part(outcome, ':', 1), ', ' order by id) from ledger
                 where policy = 'case' and plan = ''";
    let steps: String = client.query_one(steps, &[]).await?.get(0);
    ensure!(
        steps
            == "put-hold done, detach failed, put-hold done, detach done, put-hold done, drop failed, lift-hold done, drop done",
        "{steps}"
    );
    let rows = "select count(*) from leaf_namespaces n where not exists
                  (select from leaves l where l.class = n.class and l.time_from = n.time_from)";
    ensure!(client.query_one(rows, &[]).await?.get::<_, i64>(0) == 0);
    Ok(())
}

/// The passes themselves: what another policy's class keeps no longer stays for as long as the hold lasts. What they know is kept for anyone who looks.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn passes_keep_what_a_hold_of_another_policy_matches() -> Result<()> {
    let postgres = Postgres::start(18).await?;
    let store = support::store(&postgres, "passes").await?;
    let client = postgres.client_of("passes").await?;
    support::classes(&client).await?;
    support::leaves(&client, 4, 2).await?;
    let running = start_writer(&store)?;
    for stream in [0, 1] {
        let mut lines = Lines::new(stream);
        lines.age_us = 3 * HOUR_US;
        running.sender.send(lines.message(50)).ok().context("the queue is closed")?.await?;
        seal_once(&store).await?;
    }
    running.stop.cancel();
    running.task.await??;
    let tuning = Tuning { notice_us: 0, horizon_step_us: 7_200_000_000 };
    ensure!(kept_tuning(&store).await?.is_none());
    let mut retention = Standalone::new(&store, tuning);
    // An hour for all levels, no grace period: what was stored has expired long ago.
    let short = |policy: Policy| Policy {
        retention_us: cordwood_core::retention::PerLevel::of(|_| HOUR_US),
        grace_us: 0,
        drop_limit: cordwood_core::retention::DropLimit { partitions: 100, bytes: i64::MAX },
        ..policy
    };
    let default = short(Policy::builtin());
    let mut policies = vec![default, short(policy(&[], &["ns-0"]))];
    for _ in 0..5 {
        retention.pass(&policies).await?;
    }
    let records = async || -> Result<(i64, i64)> {
        let sql = "select coalesce(sum(count) filter (where tenant = 'tenant-0'), 0)::bigint,
                          coalesce(sum(count), 0)::bigint from blocks";
        let row = client.query_one(sql, &[]).await?;
        Ok((row.get(0), row.get(1)))
    };
    // Both tenants' records lie in the same table partitions: these stay as a whole.
    ensure!(records().await? == (50, 100), "{:?}", records().await?);
    ensure!(kept_tuning(&store).await? == Some(tuning));
    ensure!(states::read(&client).await?.get("case") == Some(&State::LegalHold));
    // Deleted, it stays; created again without it, all goes.
    policies.truncate(1);
    for _ in 0..5 {
        retention.pass(&policies).await?;
    }
    ensure!(records().await? == (50, 100), "the hold did not outlive its policy");
    ensure!(states::read(&client).await?.get("case") == Some(&State::LegalHold));
    policies.push(Policy { legal_hold: false, suspend: true, ..short(policy(&[], &["ns-0"])) });
    for _ in 0..5 {
        retention.pass(&policies).await?;
    }
    ensure!(records().await? == (0, 0), "{:?}", records().await?);
    ensure!(states::read(&client).await?.get("case") == Some(&State::Suspended));
    Ok(())
}
