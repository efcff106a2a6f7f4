-- The way in, what was admitted, and where sealed blocks go. See store/src/{ring,lane,commit,seal}.rs.

-- Fresh blocks. The rings are made once and never altered; which one is written to (ring_ctl.cur) is only a hint. What of
-- them counts is decided per row: a block is fresh while its seq lies above seals.upto of its lane. A sealed row is waste
-- until its ring is truncated.

create table ring_0 (
  lane smallint not null, seq bigint not null,
  id bigint not null, class integer not null, tenant text not null, count integer not null,
  time_from timestamptz not null, time_to timestamptz not null, level_mask smallint not null, raw_bytes bigint not null,
  bloom bytea not null, payload bytea not null
) with (autovacuum_enabled = off, toast.autovacuum_enabled = off);
alter table ring_0 alter column bloom set storage main, alter column payload set storage external;
create index ring_0_lane_seq on ring_0 (lane, seq);
create index ring_0_tenant_time on ring_0 (tenant, time_to desc, id desc);
create index ring_0_time on ring_0 (time_to desc, id desc);

create table ring_1 (
  lane smallint not null, seq bigint not null,
  id bigint not null, class integer not null, tenant text not null, count integer not null,
  time_from timestamptz not null, time_to timestamptz not null, level_mask smallint not null, raw_bytes bigint not null,
  bloom bytea not null, payload bytea not null
) with (autovacuum_enabled = off, toast.autovacuum_enabled = off);
alter table ring_1 alter column bloom set storage main, alter column payload set storage external;
create index ring_1_lane_seq on ring_1 (lane, seq);
create index ring_1_tenant_time on ring_1 (tenant, time_to desc, id desc);
create index ring_1_time on ring_1 (time_to desc, id desc);

create table ring_2 (
  lane smallint not null, seq bigint not null,
  id bigint not null, class integer not null, tenant text not null, count integer not null,
  time_from timestamptz not null, time_to timestamptz not null, level_mask smallint not null, raw_bytes bigint not null,
  bloom bytea not null, payload bytea not null
) with (autovacuum_enabled = off, toast.autovacuum_enabled = off);
alter table ring_2 alter column bloom set storage main, alter column payload set storage external;
create index ring_2_lane_seq on ring_2 (lane, seq);
create index ring_2_tenant_time on ring_2 (tenant, time_to desc, id desc);
create index ring_2_time on ring_2 (time_to desc, id desc);

create table ring_3 (
  lane smallint not null, seq bigint not null,
  id bigint not null, class integer not null, tenant text not null, count integer not null,
  time_from timestamptz not null, time_to timestamptz not null, level_mask smallint not null, raw_bytes bigint not null,
  bloom bytea not null, payload bytea not null
) with (autovacuum_enabled = off, toast.autovacuum_enabled = off);
alter table ring_3 alter column bloom set storage main, alter column payload set storage external;
create index ring_3_lane_seq on ring_3 (lane, seq);
create index ring_3_tenant_time on ring_3 (tenant, time_to desc, id desc);
create index ring_3_time on ring_3 (time_to desc, id desc);

create view fresh as
select * from ring_0
  union all select * from ring_1
  union all select * from ring_2
  union all select * from ring_3;

-- Counts per minute of each transaction, appended beside its blocks and folded into `rollup` when they are sealed: an
-- upsert of every counter in every transaction would cost more than the blocks.

create table rollup_ring_0 (
  lane smallint not null, seq bigint not null,
  minute timestamptz not null, tenant text not null, service text not null, source text not null, level smallint not null,
  count bigint not null, bytes bigint not null
) with (autovacuum_enabled = off);

create table rollup_ring_1 (
  lane smallint not null, seq bigint not null,
  minute timestamptz not null, tenant text not null, service text not null, source text not null, level smallint not null,
  count bigint not null, bytes bigint not null
) with (autovacuum_enabled = off);

create table rollup_ring_2 (
  lane smallint not null, seq bigint not null,
  minute timestamptz not null, tenant text not null, service text not null, source text not null, level smallint not null,
  count bigint not null, bytes bigint not null
) with (autovacuum_enabled = off);

create table rollup_ring_3 (
  lane smallint not null, seq bigint not null,
  minute timestamptz not null, tenant text not null, service text not null, source text not null, level smallint not null,
  count bigint not null, bytes bigint not null
) with (autovacuum_enabled = off);

create view rollup_fresh as
select * from rollup_ring_0
  union all select * from rollup_ring_1
  union all select * from rollup_ring_2
  union all select * from rollup_ring_3;

create table rollup (
  minute timestamptz not null, tenant text not null, service text not null, source text not null, level smallint not null,
  count bigint not null, bytes bigint not null,
  primary key (minute, tenant, service, source, level)
) with (fillfactor = 70);

-- One row: which ring is written to, how many rounds of sealing there were.
create table ring_ctl (
  only_row boolean primary key default true check (only_row),
  cur smallint not null check (cur between 0 and 3),
  round bigint not null
);
insert into ring_ctl (cur, round) values (0, 0);

-- A lane is one writer; seq counts its transactions. Lanes are dense from 0 (readers index an array by them) and rows are
-- never deleted. Lane 0 is the sealer's own: records carried over because their table partition does not exist yet.
create table seals (
  lane smallint primary key check (lane >= 0),
  upto bigint not null,
  -- Of the lane's transactions those up to here may be gone from the rings: who follows and is behind has missed something.
  emptied_to bigint not null default 0
) with (fillfactor = 20);
insert into seals (lane, upto) values (0, 0);

-- One row per transaction of a lane, pruned behind the seal but for the last.
create table batches (
  lane smallint not null, seq bigint not null,
  committed_at timestamptz not null default now(),
  blocks integer not null, records bigint not null, raw_bytes bigint not null,
  primary key (lane, seq)
);

-- Sealed blocks: LIST (retention class) -> RANGE (time_to). The operator makes the table partitions; there is no default.
-- All of a block's records lie within the bounds of its table partition.
create table blocks (
  id bigint not null, class integer not null, tenant text not null, count integer not null,
  time_from timestamptz not null, time_to timestamptz not null, level_mask smallint not null, raw_bytes bigint not null,
  bloom bytea not null, payload bytea not null
) partition by list (class);
alter table blocks alter column bloom set storage main, alter column payload set storage external;
create index blocks_tenant_time on blocks (tenant, time_to desc, id desc);
create index blocks_time on blocks (time_to desc, id desc);

-- The next Kafka offset of each topic partition. `last_hash` is of the last message consumed: a topic that was made anew
-- under the same name is recognised by it.
create table positions (
  topic_partition integer primary key,
  topic text not null,
  next_offset bigint not null,
  last_hash bigint,
  updated timestamptz not null default now()
) with (fillfactor = 20);

-- The watermark of each (stream, file, topic partition), and what was counted on the way there.
create table watermarks (
  stream text not null, file bigint not null, topic_partition integer not null,
  position_end bigint not null,
  origin bigint not null,
  lines bigint not null default 0,
  bytes bigint not null default 0,
  records bigint not null default 0,
  gated bigint not null default 0,
  limited bigint not null default 0,
  rejected bigint not null default 0,
  duplicates bigint not null default 0,
  lost_bytes bigint not null default 0,
  first_seen timestamptz not null default now(),
  updated timestamptz not null default now(),
  primary key (stream, file, topic_partition)
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05);

-- What is the same for all records of a container. The id is a hash of the rest.
create table origins (
  id bigint primary key,
  tenant text not null, tenant_id text not null,
  namespace text not null, pod text not null, pod_uid text not null, container text not null, node text not null,
  service text not null, workload text not null, environment text not null, version text not null, region text not null,
  plugin text not null, path text not null,
  first_seen timestamptz not null default now()
);

-- Bytes that never arrived, and why.
create table losses (
  seen timestamptz not null default now(),
  tenant text not null, stream text not null, file bigint not null, topic_partition integer not null,
  position_from bigint not null, bytes bigint not null, exact boolean not null, reason text not null,
  primary key (stream, file, topic_partition, position_from, reason)
);
create index losses_seen on losses (seen desc);

-- Kafka messages that could not be decoded, as they were. `seen` is in the key because a topic that is made anew begins at
-- offset 0 again.
create table dead_letters (
  topic_partition integer not null, kafka_offset bigint not null,
  seen timestamptz not null default now(),
  reason text not null,
  payload bytea not null,
  primary key (topic_partition, kafka_offset, seen)
);

-- What the sealer did that is not in a block: records whose retention had passed before they were sealed.
create table sealed_counts (
  class integer primary key,
  expired bigint not null default 0,
  expired_bytes bigint not null default 0
);
