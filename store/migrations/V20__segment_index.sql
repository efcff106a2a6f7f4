-- Beside a table partition lies a table of the same name with `_index` behind it, which the operator makes and drops with it. It has the
-- indexes of what was sealed into the partition (docs/segment-index.md): blocks of format 3, which have neither filter nor postings. So many
-- of a partition's blocks are in an index.
alter table sealed_leaves add column indexed_blocks bigint not null default 0;

-- A database in which nothing was ever stored begins with format 3; one that older versions use goes on with what it has until somebody
-- says otherwise, since these do not read 3.
update ring_ctl set block_format = 3 where round = 0 and not exists (select from batches);
