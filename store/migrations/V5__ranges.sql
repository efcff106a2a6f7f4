-- Watermarks hold ranges: of each file, what each topic partition brought is (position_begin, position_end] without its holes. See
-- store/src/watermarks.rs.
--
-- A row of before has begin 0: whatever lay below its end was stored, or was told as a loss, or was skipped as a duplicate; nothing
-- of it is to be stored again. What was told as a loss becomes a hole: if it comes after all, it is stored.
-- `shared`: another topic partition has a row of the same file.
alter table watermarks
  add column position_begin bigint not null default 0,
  add column holes int8multirange not null default '{}',
  add column shared boolean not null default false;

update watermarks w set holes = l.holes from (
  select stream, file, topic_partition, range_agg(int8range(position_from, position_from + bytes, '(]')) as holes
  from losses where reason = 'a batch is missing on the way from the agent' and bytes > 0 group by 1, 2, 3) l
where w.stream = l.stream and w.file = l.file and w.topic_partition = l.topic_partition;

-- A topic partition to which a stream moved brought only what came after: at least the bytes of the lines that it counted. What lies
-- between may still be on its way in the topic partition before it.
update watermarks w set shared = true, position_begin = case
    when w.first_seen = f.first_seen then 0 else greatest(0, w.position_end - w.bytes) end
from (select stream, file, min(first_seen) as first_seen from watermarks group by 1, 2 having count(*) > 1) f
where w.stream = f.stream and w.file = f.file;

-- Messages offset_from..offset_to - 1 of a topic partition that Kafka did not give.
create table offset_gaps (
  topic_partition integer not null, offset_from bigint not null, offset_to bigint not null check (offset_to > offset_from),
  seen timestamptz not null default now(),
  reason text not null,
  primary key (topic_partition, offset_from, seen)
);

-- What other producers than agents wrote: they have no streams to be counted under.
create table foreign_counts (
  topic_partition integer primary key,
  records bigint not null, bytes bigint not null
) with (fillfactor = 20);

-- Payloads may be cut (`bytes`: how long it was), and a row may stand for several messages.
alter table dead_letters add column bytes bigint, add column messages bigint not null default 1;
