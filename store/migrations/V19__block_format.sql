-- The newest format of blocks that sealing ever wrote here (docs/block-format.md): a program that does not read it refuses to work with
-- this database, and says so, where it would show less than is stored. Sealing sets it in the transaction that brings the first such block.
alter table ring_ctl add column block_format smallint not null default 1;
