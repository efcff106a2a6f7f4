-- Where retention stood at its last pass: the horizon, by which records expire, and PostgreSQL's clock. A clock that jumps moves the horizon
-- by a step and not by the jump. Without a row there was no pass yet.
create table horizon (
  only_row boolean primary key default true check (only_row),
  at timestamptz not null,
  clock_at timestamptz not null
);
