-- Legal holds by match, of whose records each table partition is, and what the last pass knew of policies and settings.

-- The legal holds in force that name tenants or namespaces: globs, of which an empty list matches all. A hold outlives its policy. Whoever
-- detaches or drops a table partition looks here, and whoever seals: core/src/retention/hold.rs.
create table holds (
  policy text primary key,
  policy_uid text not null,
  tenants text[] not null,
  namespaces text[] not null,
  since timestamptz not null default now(),
  check (cardinality(tenants) + cardinality(namespaces) > 0)
);

-- How many records of which tenant and namespace each table partition holds. The rows go with the table. They are complete for a
-- partition while sealed_leaves.named_blocks = blocks: a sealer of an older version adds blocks and names nobody. The operator then reads
-- whose they are, as it does once of each that was sealed before this migration; -1: not all of its blocks can be read. Until then a
-- hold keeps what may be of its namespaces.
create table leaf_namespaces (
  class integer not null,
  time_from timestamptz not null,
  tenant text not null,
  namespace text not null,
  records bigint not null,
  primary key (class, time_from, tenant, namespace)
) with (fillfactor = 50);
alter table sealed_leaves add column named_blocks bigint;

-- Settings of the operator that made the last pass, for whoever looks ahead. Null: not known.
alter table horizon add column step_us bigint, add column notice_us bigint;

-- What keeps the records of each policy, as the last pass saw it: Active, DryRun, Suspended or LegalHold.
create table policy_states (
  policy text primary key,
  state text not null,
  since timestamptz not null default now()
);
