//! Four group roles: `cordwood_owner` (DDL), `cordwood_writer` (the way in and sealing), `cordwood_reader` (queries), `cordwood_gateway`
//! (queries, and tasks: announce and delete them). A login role is made a member of one; only the first owns anything, so none of the
//! others can alter or drop a table.

use tokio_postgres::Client;

use crate::error::StoreError;

const ROLES: [&str; 4] = ["cordwood_owner", "cordwood_writer", "cordwood_reader", "cordwood_gateway"];

/// Creates the roles where they are missing and grants what each may do. What the session may not grant comes back as
/// a warning: on a managed server an administrator makes the roles.
pub async fn ensure(client: &Client) -> Result<Vec<String>, StoreError> {
    let mut warnings = Vec::new();
    for role in ROLES {
        let exists = client
            .query_opt("select 1 from pg_roles where rolname = $1", &[&role])
            .await
            .map_err(StoreError::sql("look for role", role))?
            .is_some();
        if !exists && let Err(error) = client.batch_execute(&format!("create role {role} nologin")).await {
            // Another database's migration may have made it at this moment.
            let made = client.query_opt("select 1 from pg_roles where rolname = $1", &[&role]).await;
            if !matches!(made, Ok(Some(_))) {
                warnings.push(format!("create role {role}: {}", crate::error::describe(&error)));
            }
        }
    }
    for statement in grants() {
        if let Err(error) = client.batch_execute(&statement).await {
            warnings.push(format!("{statement}: {}", crate::error::describe(&error)));
        }
    }
    Ok(warnings)
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
