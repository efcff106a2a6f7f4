-- What each table partition holds, so that retention can be proved: how many records, and the newest. And of each step of the ledger the records.

-- Both are known while counted_blocks = blocks: a sealer of an older version adds blocks and does not count. The operator then counts the
-- partition, as it does once for each that was sealed before this migration.
alter table sealed_leaves
  add column records bigint,
  -- End of its newest block.
  add column newest timestamptz,
  add column counted_blocks bigint;

-- Records of the table partition that a step attached, detached or dropped. Null: not known, or the step is about none.
alter table ledger add column records bigint;
