-- The newest format of blocks that sealing ever wrote here (docs/block-format.md): a program that does not read it refuses to work with
-- this database, and says so, where it would show less than is stored. Sealing sets it in the transaction that brings the first such block.
alter table ring_ctl add column block_format smallint not null default 1;

-- Where a writer's configuration does not say it, sealing writes this format. A database in which nothing was ever stored begins with 2;
-- one that older versions use goes on with 1 until somebody says otherwise, since these do not read 2.
update ring_ctl set block_format = 2 where round = 0 and not exists (select from batches);
