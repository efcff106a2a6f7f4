//! Four group roles: `cordwood_owner` (DDL), `cordwood_writer` (the way in and sealing), `cordwood_reader` (queries), `cordwood_gateway`
//! (queries, and tasks: announce and delete them). A login role is made a member of one; only the first owns anything, so none of the
//! others can alter or drop a table.

use tokio_postgres::Client;

use crate::error::StoreError;

const ROLES: [&str; 4] = ["cordwood_owner", "cordwood_writer", "cordwood_reader", "cordwood_gateway"];

/// Creates the roles where they are missing and grants what each may do. What the session may not do comes back as
/// a warning that says what an administrator does about it: on a managed server the login may not make roles.
pub async fn ensure(client: &Client) -> Result<Vec<String>, StoreError> {
    let mut warnings = Vec::new();
    let mut missing = Vec::new();
    for role in ROLES {
        if exists(client, role).await? {
            continue;
        }
        // Another database's migration may make it at this moment.
        if let Err(error) = client.batch_execute(&format!("create role {role} nologin")).await
            && !exists(client, role).await?
        {
            let why = error.as_db_error().map_or_else(|| error.to_string(), |db| db.message().to_owned());
            warnings.push(format!(
                "role {role} is missing ({why}): as an administrator, CREATE ROLE {role} NOLOGIN"
            ));
            missing.push(role);
        }
    }
    for statement in grants() {
        // One that is missing keeps nothing from the others.
        let Some((grant, to)) = statement.rsplit_once(" to ") else { continue };
        let to: Vec<&str> = to.split(", ").filter(|role| !missing.contains(role)).collect();
        if to.is_empty() {
            continue;
        }
        let statement = format!("{grant} to {}", to.join(", "));
        if let Err(error) = client.batch_execute(&statement).await {
            warnings.push(format!("{statement}: {}", crate::error::describe(&error)));
        }
    }
    Ok(warnings)
}

async fn exists(client: &Client, role: &str) -> Result<bool, StoreError> {
    let found = client.query_opt("select 1 from pg_roles where rolname = $1", &[&role]).await;
    Ok(found.map_err(StoreError::sql("look for role", role))?.is_some())
}

fn grants() -> Vec<String> {
    let mut all = vec![
        "grant create, usage on schema public to cordwood_owner".to_owned(),
        "grant usage on schema public to cordwood_writer, cordwood_reader".to_owned(),
        "grant select on all tables in schema public to cordwood_reader, cordwood_writer, cordwood_owner".to_owned(),
        // Table partitions that the operator makes later.
        "alter default privileges in schema public grant select on tables to cordwood_reader, cordwood_writer"
            .to_owned(),
        "alter default privileges in schema public grant insert on tables to cordwood_writer".to_owned(),
        "grant insert on blocks, dead_letters, losses, offset_gaps, origins to cordwood_writer".to_owned(),
        "grant insert, update on positions, watermarks, rollup, seals, sealed_counts, foreign_counts to cordwood_writer".to_owned(),
        "grant insert, delete on batches to cordwood_writer".to_owned(),
        "grant update on ring_ctl, contents_of to cordwood_writer".to_owned(),
        "grant insert, update on sealed_leaves to cordwood_writer".to_owned(),
        "grant insert on leaf_tenants to cordwood_writer".to_owned(),
        "grant insert, update on leaf_namespaces to cordwood_writer".to_owned(),
        "grant insert, delete on wanted_leaves to cordwood_writer".to_owned(),
        "grant insert, update, delete on error_counts, error_groups to cordwood_writer".to_owned(),
        "grant insert on tasks, task_logs to cordwood_writer".to_owned(),
        "grant update on task_tombstones to cordwood_writer".to_owned(),
        // In statements of their own: where administrators made the roles of before, this one is missing.
        "grant usage on schema public to cordwood_gateway".to_owned(),
        "grant select on all tables in schema public to cordwood_gateway".to_owned(),
        "alter default privileges in schema public grant select on tables to cordwood_gateway".to_owned(),
        // What a gateway may change.
        "grant insert, delete on tasks to cordwood_gateway".to_owned(),
        "grant delete on task_logs to cordwood_gateway".to_owned(),
        "grant insert, update on task_tombstones to cordwood_gateway".to_owned(),
        // A loss that is taken back because its bytes came after all.
        "grant delete on losses to cordwood_writer".to_owned(),
    ];
    for ring in 0..crate::ring::RINGS {
        all.push(format!(
            "grant insert, truncate on ring_{ring}, rollup_ring_{ring}, error_ring_{ring} to cordwood_writer"
        ));
    }
    all
}
