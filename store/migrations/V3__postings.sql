-- Which records of a sealed block hold a word: see core/src/block/postings. Blocks that were sealed before have none (null) and
-- are opened when their bloom filter lets them through, as ever. Fresh blocks are few and soon sealed: the rings stay as they are.
alter table blocks add column postings bytea;
alter table blocks alter column postings set storage external;
