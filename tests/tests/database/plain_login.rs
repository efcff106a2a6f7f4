//! A managed PostgreSQL: nobody is superuser. An administrator does what README says, and everything works with these logins; where a
//! right is missing, the error says what the administrator does about it.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use cordwood_store::lane::Lane;
use cordwood_store::{Settings, Store, migrate, origins};
use cordwood_tests::env::{Postgres, wait_for};
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::json;

use super::operator_world::{World, policy, retention};
use super::parts::{PATIENCE, Parts, Urls};

const DATABASE: &str = "cordwood";
const PASSWORD: &str = "plain";

/// What README tells the administrator to do.
fn statements() -> Result<Vec<String>> {
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md"))?;
    let block = readme
        .split("```")
        .find(|block| block.starts_with("sql\nCREATE ROLE cordwood_admin"))
        .context("README names no roles")?;
    let lines = block.lines().skip(1).map(|line| line.split("--").next().unwrap_or_default());
    let text = lines.collect::<String>().replace("'...'", &format!("'{PASSWORD}'"));
    Ok(text.split_inclusive(';').map(str::trim).filter(|one| !one.is_empty()).map(str::to_owned).collect())
}

async fn as_readme_says(postgres: &Postgres, without: &[&str]) -> Result<()> {
    let admin = postgres.client().await?;
    for statement in statements()? {
        if without.iter().any(|part| statement.contains(part)) {
            continue;
        }
        admin.batch_execute(&statement).await.with_context(|| statement.clone())?;
    }
    let able = "select count(*) from pg_roles where not rolname like 'pg\\_%' and rolname <> 'postgres' and \
                (rolsuper or rolcreatedb or rolcreaterole or rolreplication or rolbypassrls)";
    ensure!(admin.query_one(able, &[]).await?.get::<_, i64>(0) == 0, "a login of README's may too much");
    Ok(())
}

fn url(postgres: &Postgres, login: &str) -> String {
    let superuser = format!("postgres:{}@", postgres.password());
    postgres.url_of(DATABASE).replace(&superuser, &format!("{login}:{PASSWORD}@"))
}

/// Migrating, storing, sealing, searching, creating, detaching, attaching again and dropping.
async fn everything_works(version: u32) -> Result<()> {
    let mut world = World::start(version).await?;
    world.database = DATABASE.to_owned();
    as_readme_says(&world.postgres, &[]).await?;
    let of = |login: &str| url(&world.postgres, login);
    let urls =
        Urls { operator: of("cordwood_admin"), writer: of("cordwood_ingest"), gateway: of("cordwood_api") };
    let mut parts = Parts::start(world, &urls).await?;
    let log =
        std::fs::read_to_string(parts.world.operator.as_ref().context("an operator")?.process.log_path())?;
    ensure!(!log.contains("roles and grants are incomplete"), "{log}");
    for _ in 0..5 {
        parts.send().await?;
        parts.all_stored().await?;
    }
    wait_for("a ring to be emptied", PATIENCE, || async {
        let emptied = parts.writer_metric("cordwood_writer_rings_truncated_total").await?;
        ensure!(emptied > 0.0, "none is");
        Ok(())
    })
    .await
    .with_context(|| parts.logs())?;
    let anna = Store::connect(&Settings::url(url(&parts.world.postgres, "anna"))).await?;
    ensure!(!origins::names(&anna, 10).await?.tenants.context("tenants")?.is_empty(), "anna sees nothing");

    // A sealer would note that no record waits for the partitions that are made by hand here.
    parts.check()?;
    parts.writer.stop();
    let policies: Api<_> = parts.world.api();
    policies.create(&PostParams::default(), &policy("shop", "1h", "2m")).await?;
    wait_for("the policy to be Ready", PATIENCE, || parts.world.condition("shop", "Ready", "True")).await?;
    let classes = parts.world.classes("shop").await?;
    let stored = parts.world.fill(&classes, 55).await?;
    policies.patch("shop", &PatchParams::default(), &Patch::Merge(retention("30m"))).await?;
    wait_for("partitions to be detached", PATIENCE, || parts.world.at_least("detach", "shop", 20)).await?;
    policies.patch("shop", &PatchParams::default(), &Patch::Merge(retention("1h"))).await?;
    wait_for("all records to be back", PATIENCE, || async {
        let visible = parts.world.visible(&classes).await?;
        ensure!(visible == stored, "{visible} of {stored}");
        Ok(())
    })
    .await?;
    let patch = json!({"spec": {"gracePeriod": "1s", "retention": retention("30m")["spec"]["retention"]}});
    policies.patch("shop", &PatchParams::default(), &Patch::Merge(patch)).await?;
    wait_for("partitions to be dropped", PATIENCE, || parts.world.at_least("drop", "shop", 20)).await?;
    parts.world.nothing_young_is_gone(&classes, stored, 30).await?;
    let failed = "select count(*) from ledger where outcome like '%permission%' or outcome like '%owner%'";
    ensure!(parts.world.sql_count(failed).await? == 0, "a step lacked a right");
    ensure!(parts.world.operator_runs(), "the operator ended");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_works_without_a_superuser_15() -> Result<()> {
    everything_works(15).await
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_works_without_a_superuser_18() -> Result<()> {
    everything_works(18).await
}

fn says(error: Option<impl std::fmt::Display>, words: &[&str]) -> Result<()> {
    let text = error.context("it was let through")?.to_string();
    println!("{text}");
    for word in words {
        ensure!(text.contains(word), "{text:?} does not say {word:?}");
    }
    Ok(())
}

async fn missing_rights(version: u32) -> Result<()> {
    let postgres = Postgres::start(version).await?;
    let groups = ["CREATE ROLE cordwood_gateway", "CREATE ROLE cordwood_ingest", "CREATE ROLE cordwood_api"];
    as_readme_says(&postgres, &groups).await?;
    let admin = postgres.client_of(DATABASE).await?;
    for login in ["ingest", "api", "other"] {
        admin.batch_execute(&format!("create role {login} login password '{PASSWORD}'")).await?;
    }
    let store = |login: &str| Store::new(&Settings::url(url(&postgres, login)));

    // A role is missing: named once, and the others have their rights all the same.
    let owner = store("cordwood_admin")?;
    let migrated = migrate::run(&owner).await?;
    ensure!(migrated.warnings.len() == 1, "{:?}", migrated.warnings);
    says(migrated.warnings.first(), &["as an administrator, CREATE ROLE cordwood_gateway NOLOGIN"])?;
    let may = "select has_table_privilege('cordwood_writer', 'blocks', 'insert') and has_table_privilege('cordwood_reader', 'blocks', 'select')";
    ensure!(admin.query_one(may, &[]).await?.get::<_, bool>(0), "the others have no rights");
    admin.batch_execute("create role cordwood_gateway nologin").await?;
    let migrated = migrate::run(&owner).await?;
    ensure!(migrated.warnings.is_empty(), "{:?}", migrated.warnings);

    // Members of nothing.
    says(migrate::check(&store("ingest")?).await.err(), &["GRANT cordwood_writer TO"])?;
    says(Lane::claim(&store("ingest")?).await.err(), &["GRANT cordwood_writer TO"])?;
    says(
        origins::names(&store("api")?, 10).await.err(),
        &["GRANT cordwood_gateway TO", "GRANT cordwood_reader TO"],
    )?;
    // Neither the owner of the database nor of the tables.
    says(migrate::run(&store("other")?).await.err(), &["ALTER DATABASE", "OWNER TO", "REASSIGN OWNED BY"])?;

    admin.batch_execute("alter role ingest nologin").await?;
    says(migrate::check(&store("ingest")?).await.err(), &["ALTER ROLE \"ingest\" LOGIN"])?;
    admin.batch_execute("revoke connect on database cordwood from public").await?;
    says(migrate::check(&store("api")?).await.err(), &["GRANT CONNECT ON DATABASE \"cordwood\" TO \"api\""])?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_right_is_named_with_its_grant_15() -> Result<()> {
    missing_rights(15).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_right_is_named_with_its_grant_18() -> Result<()> {
    missing_rights(18).await
}

/// The operator runs when the administrator makes a role that was missing.
#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_is_made_later_gets_its_rights() -> Result<()> {
    let mut world = World::start(15).await?;
    world.database = DATABASE.to_owned();
    as_readme_says(&world.postgres, &["cordwood_writer", "cordwood_gateway"]).await?;
    world.more = json!({"database": {"url": url(&world.postgres, "cordwood_admin")}});
    world.start_operator().await?;
    let log = world.operator.as_ref().context("an operator")?.process.log_path().to_owned();
    for role in ["cordwood_writer", "cordwood_gateway"] {
        let words = format!("CREATE ROLE {role} NOLOGIN");
        wait_for(&format!("the log to say {words:?}"), PATIENCE, || async {
            ensure!(std::fs::read_to_string(&log)?.contains(&words), "it does not");
            Ok(())
        })
        .await?;
    }
    world.execute("create role cordwood_writer nologin; create role cordwood_gateway nologin").await?;
    wait_for("their rights", Duration::from_secs(60), || async {
        let may = "select (has_table_privilege('cordwood_writer', 'blocks', 'insert')
                     and has_table_privilege('cordwood_gateway', 'tasks', 'delete'))::int::bigint";
        ensure!(world.sql_count(may).await? == 1, "none");
        Ok(())
    })
    .await
}
