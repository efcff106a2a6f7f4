//! A month of retention cut to an hour, as a typo does, with a hundred table partitions of records: nothing goes, what waits is told with
//! its records and bytes; an approval allows dropping exactly that, and none of it once the spec has changed.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use cordwood_core::retention::class::align_down;
use cordwood_core::retention::{ClassId, LeafRef, Planned, Step};
use cordwood_crds::retention::ApprovalStatus;
use cordwood_store::ddl::{self, DdlSession, Loop};
use cordwood_store::{Settings, Store};
use cordwood_tests::env::wait_for;
use kube::api::{Patch, PatchParams, PostParams};

use super::operator_world::{World, kubectl, policy, retention};

const PATIENCE: Duration = Duration::from_secs(120);
const HOUR_US: i64 = 3_600_000_000;
const PARTITIONS: i64 = 100;
/// In each of them.
const RECORDS: i64 = 7;

#[tokio::test(flavor = "multi_thread")]
async fn a_month_cut_to_an_hour_waits_and_goes_as_it_was_approved() -> Result<()> {
    let mut world = World::start(18).await?;
    world.start_operator().await?;
    let policies = world.api();
    let mut shop = policy("shop", "30d", "1h");
    shop.spec.drop_limit.partitions = 10;
    policies.create(&PostParams::default(), &shop).await?;
    wait_for("the policy to be Ready", PATIENCE, || world.condition("shop", "Ready", "True")).await?;
    let classes = world.classes("shop").await?;
    world.kill_operator();
    let class = *classes.last().context("no class")?;
    fill(&world, class).await?;
    world.start_operator().await?;
    // One that is young, in a partition of its own.
    world.want("shop", 0).await?;
    wait_for("a record of now", PATIENCE, || async { block(&world, class, "now()", 1).await }).await?;
    let stored = PARTITIONS + 1;
    ensure!(world.visible(&classes).await? == stored);
    wait_for("the records to be counted", PATIENCE, || async {
        let records = policies.get("shop").await?.status.and_then(|status| status.records);
        ensure!(records == Some(PARTITIONS * RECORDS + 1), "{records:?}");
        Ok(())
    })
    .await?;

    policies.patch("shop", &PatchParams::default(), &Patch::Merge(retention("1h"))).await?;
    let first = wait_for("a plan to wait for its approval", PATIENCE, || waits(&world, "")).await?;
    for condition in ["Stalled", "Held"] {
        wait_for(condition, PATIENCE, || world.condition("shop", condition, "True")).await?;
    }
    println!("$ kubectl get lrp shop\n{}", kubectl(&world, &["get", "lrp", "shop"])?);
    let wide = kubectl(&world, &["get", "lrp", "shop", "-o", "wide"])?;
    println!("$ kubectl get lrp shop -o wide\n{wide}");
    let described = kubectl(&world, &["describe", "lrp", "shop"])?;
    println!("$ kubectl describe lrp shop\n{described}");
    let row: Vec<&str> = wide.lines().nth(1).context("no row")?.split_whitespace().collect();
    for shown in ["AboveDropLimit", "100", "700", &first.bytes.to_string()] {
        ensure!(row.contains(&shown), "{shown} is not in {wide}");
    }
    for shown in ["it would drop 100 partitions (700 records, ", "retention 30d -> 1h"] {
        ensure!(described.contains(shown), "{shown} is not in {described}");
    }
    let status = policies.get("shop").await?.status.context("a status")?;
    let held = status.plan.context("a plan")?.held;
    let sum = held
        .iter()
        .filter(|held| held.what.contains("30d -> 1h"))
        .map(|held| held.records)
        .sum::<Option<i64>>();
    ensure!(sum == Some(700), "{held:?}");
    a_few_passes(&world).await?;
    ensure!(world.visible(&classes).await? == stored && gone(&world, "true").await? == 0, "something went");

    // The spec changes, and the approval of before comes.
    policies.patch("shop", &PatchParams::default(), &Patch::Merge(retention("2h"))).await?;
    let second = wait_for("another plan", PATIENCE, || waits(&world, &first.plan)).await?;
    approve(&world, &first)?;
    wait_for("the approval to be void", PATIENCE, || async {
        let waits = policies.get("shop").await?.status.and_then(|status| status.waits).unwrap_or_default();
        ensure!(
            waits.ends_with(&format!("({}, which was approved, is another plan)", first.plan)),
            "{waits}"
        );
        Ok(())
    })
    .await?;
    a_few_passes(&world).await?;
    ensure!(world.visible(&classes).await? == stored && gone(&world, "true").await? == 0, "something went");

    approve(&world, &second)?;
    wait_for("what was approved to go", PATIENCE, || async {
        let visible = world.visible(&classes).await?;
        ensure!(visible == stored - PARTITIONS, "{visible} blocks are seen");
        Ok(())
    })
    .await?;
    wait_for("the policy to be Ready", PATIENCE, || world.condition("shop", "Ready", "True")).await?;
    let under = format!("approval = '{}' and records = {RECORDS} and outcome = 'done'", second.plan);
    let (all, approved) = (gone(&world, "true").await?, gone(&world, &under).await?);
    println!("{approved} of {all} partitions went under the approval of plan {}", second.plan);
    ensure!(approved == all, "{all} went, {approved} of them as approved");
    let detached = world.sql_count("select count(*) from leaves where detached is not null").await?;
    ensure!(detached == PARTITIONS, "{detached} partitions are detached");
    // Within the grace period everything is still there.
    let dropped = "select count(*) from ledger where step = 'drop' and policy = 'shop' and bytes > 0";
    ensure!(world.sql_count(dropped).await? == 0, "dropped within the grace period");
    println!("$ kubectl get lrp shop\n{}", kubectl(&world, &["get", "lrp", "shop"])?);
    Ok(())
}

/// The plan that waits for an approval, unless it is `other`.
async fn waits(world: &World, other: &str) -> Result<ApprovalStatus> {
    let status = world.api().get("shop").await?.status.context("a status")?;
    let approval = status.approval.context("nothing waits for an approval")?;
    ensure!(approval.plan != other, "still the plan of before");
    let amount = (approval.partitions, approval.records);
    ensure!(amount == (PARTITIONS, Some(PARTITIONS * RECORDS)) && approval.bytes > 0, "{approval:?}");
    Ok(approval)
}

fn approve(world: &World, approval: &ApprovalStatus) -> Result<()> {
    let words: Vec<&str> = approval.command.split_whitespace().collect();
    println!("$ {}\n{}", approval.command, kubectl(world, &words[1..])?);
    Ok(())
}

/// Partitions with records that were detached, by what the ledger says of them.
async fn gone(world: &World, of: &str) -> Result<i64> {
    let sql = format!(
        "select count(*) from ledger where step = 'detach' and policy = 'shop' and bytes > 0 and {of}"
    );
    world.sql_count(&sql).await
}

/// The dropping loop keeps the time of each of its passes.
async fn a_few_passes(world: &World) -> Result<()> {
    let mut before = 0;
    for _ in 0..4 {
        before = wait_for("another pass", PATIENCE, || async {
            let sql = "select (extract(epoch from clock_at) * 1000000)::bigint from horizon";
            let at_us = world.sql_count(sql).await?;
            ensure!(at_us > before, "still the same");
            Ok(at_us)
        })
        .await?;
    }
    Ok(())
}

/// Partitions of 6 hours, as a shorter retention before made them, each with a block, the youngest of them some hours old.
async fn fill(world: &World, class: i32) -> Result<()> {
    let store = Store::connect(&Settings::url(world.postgres.url())).await?;
    let mut session = wait_for("the operator's session to end", PATIENCE, || async {
        DdlSession::open(&store, Loop::Create).await?.context("it lives")
    })
    .await?;
    let class_table = Step::CreateClassTable { class: ClassId(class) };
    ddl::apply(&mut session, &Planned::new(class_table, "shop", "a test"), "").await?;
    let end_us = align_down(jiff::Timestamp::now().as_microsecond() - 4 * HOUR_US, 6 * HOUR_US);
    for number in 0..PARTITIONS {
        let to_us = end_us - number * 6 * HOUR_US;
        let leaf = LeafRef { class: ClassId(class), from_us: to_us - 6 * HOUR_US, to_us };
        ddl::apply(&mut session, &Planned::new(Step::CreateLeaf(leaf), "shop", "a test"), "").await?;
        let middle = jiff::Timestamp::from_microsecond(leaf.from_us + 3 * HOUR_US)?;
        block(world, class, &format!("timestamptz '{middle}'"), RECORDS).await?;
    }
    Ok(())
}

/// A block of so many records of one moment, and what sealing would note of it.
async fn block(world: &World, class: i32, at: &str, records: i64) -> Result<()> {
    world
        .execute(&format!(
            "insert into blocks (id, class, tenant, count, time_from, time_to, level_mask, raw_bytes, bloom, payload)
               values (1, {class}, 'shop-eu', {records}, {at}, {at}, 1, 100, '\\x00', decode(repeat('ab', 2000), 'hex'));
             insert into sealed_leaves (class, time_from, blocks, bytes, oldest)
               select l.class, l.time_from, count(*), max(pg_total_relation_size(b.tableoid)), min(b.time_from)
                 from blocks b join leaves l on l.class = b.class and b.time_to >= l.time_from and b.time_to < l.time_to
                where l.class = {class} group by 1, 2 on conflict do nothing"
        ))
        .await
}
