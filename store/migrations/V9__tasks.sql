-- Logs of tasks, as plain rows: store/src/tasks.rs. A task is of one namespace and one tenant. New tables only.

-- Made by a task's first line, or by whoever announces it. Its deletion takes its lines with it.
create table tasks (
  task_id text not null,
  namespace text not null,
  tenant text not null,
  created timestamptz not null default now(),
  primary key (task_id, namespace, tenant)
);

-- Filled in the transaction that stores the records themselves: each line once. The last three columns name the record.
create table task_logs (
  id bigint generated always as identity primary key,
  task_id text not null,
  "timestamp" timestamptz not null,
  level text not null,
  source text not null default 'system',
  message text not null,
  metadata jsonb,
  namespace text not null,
  tenant text not null,
  audit boolean not null default false,
  topic_partition integer not null,
  kafka_offset bigint not null,
  record_index integer not null
);
-- A page in the order of time, and counts without a look at the rows.
create index task_logs_task on task_logs (task_id, namespace, "timestamp", id) include (tenant, level, source, audit);
create index task_logs_source on task_logs (task_id, namespace, source, "timestamp", id) include (tenant, level, audit);
create index task_logs_timestamp on task_logs using brin ("timestamp");

-- Tasks that were deleted: later lines are refused, and their records are shown nowhere. A row goes when no record of its task can be
-- left. Deletions take turns (an advisory lock), so that ids are committed in their order and a reader asks for the newer ones alone.
create table task_tombstones (
  id bigint generated always as identity primary key,
  task_id text not null,
  namespace text not null,
  tenant text not null,
  deleted timestamptz not null default now(),
  -- When a line of it came last.
  seen timestamptz not null default now(),
  -- Its lines are gone from task_logs.
  emptied boolean not null default false,
  unique (task_id, namespace, tenant)
);
create index task_tombstones_full on task_tombstones (id) where not emptied;
