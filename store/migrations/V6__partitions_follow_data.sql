-- What sealing put into which table partition, written in the transaction that seals: store/src/contents.rs.

-- One row per table partition that holds blocks. The row goes with the table.
create table sealed_leaves (
  class integer not null,
  time_from timestamptz not null,
  blocks bigint not null,
  -- Of the table with its indexes and out-of-line storage, when blocks were last put into it.
  bytes bigint not null,
  -- Begin of its oldest block.
  oldest timestamptz not null,
  sealed timestamptz not null default now(),
  primary key (class, time_from)
) with (fillfactor = 50);

-- Which tenants have records in which table partition. A search reads the classes of its tenants from it, in the snapshot in which
-- it reads the blocks. The rows go with the table. They are complete while contents_of.round = ring_ctl.round.
create table leaf_tenants (
  tenant text not null,
  class integer not null,
  time_from timestamptz not null,
  primary key (tenant, class, time_from)
);
create index leaf_tenants_leaf on leaf_tenants (class, time_from);

-- The last round of sealing up to which both tables are complete. A sealer of an older version does not move it; the next one of
-- this version then reads what every table partition holds, as it does once after this migration.
create table contents_of (
  only_row boolean primary key default true check (only_row),
  round bigint not null
);
insert into contents_of (round) values (0);

-- Table partitions that waiting records need: noted by the sealer, created by the operator. time_from and time_to are those of the
-- bucket that the class's retention gave at the time; what of it exists already is left out when the rest is created.
create table wanted_leaves (
  class integer not null,
  time_from timestamptz not null,
  time_to timestamptz not null check (time_to > time_from),
  since timestamptz not null default now(),
  primary key (class, time_from)
);
