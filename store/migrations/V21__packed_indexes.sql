-- The tables of indexes (V20) that the operator has written anew since their table partitions' time was over: how many blocks were in the
-- index then, and its bytes. One that grows again by much is packed again.
create table packed_leaves (
  class integer not null,
  time_from timestamptz not null,
  blocks bigint not null,
  bytes bigint not null,
  -- Whether sealed_leaves.bytes says how large the partition is since.
  size_noted boolean not null default false,
  primary key (class, time_from)
);
