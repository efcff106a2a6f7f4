-- Retention: classes, the leaves that the operator made, routes, and the ledger of every step. Times are UTC.

-- A retention class is one policy and level. Ids are allocated once and never used again; what is in force stays here when the policy is gone,
-- because records already stored keep their promise. level: 0 debug and trace, 1 info, 2 warn, 3 error.
create table classes (
  id integer primary key check (id > 0),
  policy text not null,
  policy_uid text not null,
  level smallint not null check (level between 0 and 3),
  retention_us bigint not null check (retention_us > 0),
  grace_us bigint not null check (grace_us >= 0),
  legal_hold boolean not null default false,
  -- A shorter retention that was announced, and from when it is in force.
  wanted_us bigint check (wanted_us > 0),
  effective_from timestamptz check ((effective_from is null) = (wanted_us is null)),
  created timestamptz not null default now(),
  unique (policy, level)
);

-- Our books of table partitions: blocks_c<class>_<time_from as yyyymmddthhmm>. pg_inherits says whether one is attached; this
-- says which bounds a detached one had, and since when its grace period runs.
create table leaves (
  class integer not null references classes (id),
  time_from timestamptz not null,
  time_to timestamptz not null check (time_to > time_from),
  created timestamptz not null default now(),
  detached timestamptz,
  primary key (class, time_from)
);

-- The compiled routes, one row: which record falls into which class (JSON of core's retention::Routes).
create table routes (
  only_row boolean primary key default true check (only_row),
  body jsonb not null,
  updated timestamptz not null default now()
);

-- Every step that was done: when, for which policy, of which plan, why.
create table ledger (
  id bigint generated always as identity primary key,
  at timestamptz not null default now(),
  policy text not null,
  plan text not null,
  step text not null,
  subject text not null,
  bytes bigint not null,
  why text not null
);
create index ledger_at on ledger (at desc);
