-- How wide the blocks of a table partition are, so that a search that begins within one need not look at all later blocks of it for
-- those that reach back to its begin: store/src/contents.rs.

-- width_us: the greatest (time_to - time_from) of its blocks, microseconds, while width_blocks = blocks; else not known. A sealer of
-- an older version counts its blocks and knows nothing of widths. What was sealed before this has no width.
alter table sealed_leaves add column width_us bigint, add column width_blocks bigint;
