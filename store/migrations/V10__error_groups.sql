-- Groups of errors: how many records of WARN and ERROR tell of the same one, by hour. See store/src/errors.rs. New tables, and a mark.
--
-- Everything that decides who may see a record is in the keys (tenant, namespace, audit), so that nobody is shown a message or a count of
-- what they may not see; and the task, so that a deleted task's records are in no count. task_id: '' where a record is of no task.

-- What a transaction counted, appended beside its blocks. A row has the first time, and the last record, which is the sample.
create table error_ring_0 (
  lane smallint not null, seq bigint not null,
  hour timestamptz not null, signature bigint not null, tenant text not null, namespace text not null, service text not null,
  level smallint not null, audit boolean not null, task_id text not null,
  count bigint not null, first_seen timestamptz not null,
  last_seen timestamptz not null, topic_partition integer not null, kafka_offset bigint not null, record_index integer not null,
  error_type text not null, message text not null
) with (autovacuum_enabled = off);

create table error_ring_1 (
  lane smallint not null, seq bigint not null,
  hour timestamptz not null, signature bigint not null, tenant text not null, namespace text not null, service text not null,
  level smallint not null, audit boolean not null, task_id text not null,
  count bigint not null, first_seen timestamptz not null,
  last_seen timestamptz not null, topic_partition integer not null, kafka_offset bigint not null, record_index integer not null,
  error_type text not null, message text not null
) with (autovacuum_enabled = off);

create table error_ring_2 (
  lane smallint not null, seq bigint not null,
  hour timestamptz not null, signature bigint not null, tenant text not null, namespace text not null, service text not null,
  level smallint not null, audit boolean not null, task_id text not null,
  count bigint not null, first_seen timestamptz not null,
  last_seen timestamptz not null, topic_partition integer not null, kafka_offset bigint not null, record_index integer not null,
  error_type text not null, message text not null
) with (autovacuum_enabled = off);

create table error_ring_3 (
  lane smallint not null, seq bigint not null,
  hour timestamptz not null, signature bigint not null, tenant text not null, namespace text not null, service text not null,
  level smallint not null, audit boolean not null, task_id text not null,
  count bigint not null, first_seen timestamptz not null,
  last_seen timestamptz not null, topic_partition integer not null, kafka_offset bigint not null, record_index integer not null,
  error_type text not null, message text not null
) with (autovacuum_enabled = off);

create view error_fresh as
select * from error_ring_0
  union all select * from error_ring_1
  union all select * from error_ring_2
  union all select * from error_ring_3;

-- Of a lane's transactions, those whose counts are in error_counts. Apart from `upto`: a sealer of an older version moves that one alone.
alter table seals add column errors_upto bigint not null default 0;

-- The hour is that of the records' own times.
create table error_counts (
  hour timestamptz not null, signature bigint not null, tenant text not null, namespace text not null, service text not null,
  level smallint not null, audit boolean not null, task_id text not null,
  count bigint not null,
  primary key (hour, signature, tenant, namespace, service, level, audit, task_id)
) with (fillfactor = 70);
create index error_counts_signature on error_counts (signature, hour);
create index error_counts_task on error_counts (task_id) where task_id <> '';

-- What is known of a group. Its text is that of its last record.
create table error_groups (
  signature bigint not null, tenant text not null, namespace text not null, service text not null,
  level smallint not null, audit boolean not null, task_id text not null,
  first_seen timestamptz not null,
  last_seen timestamptz not null, topic_partition integer not null, kafka_offset bigint not null, record_index integer not null,
  error_type text not null, message text not null,
  primary key (signature, tenant, namespace, service, level, audit, task_id)
) with (fillfactor = 70);
create index error_groups_last_seen on error_groups (last_seen);
create index error_groups_task on error_groups (task_id) where task_id <> '';
