-- Approvals of shorter retentions, and a ledger that says of every step for which spec, of which records, from when to when, and how it ended.

-- The last approval under which a class's retention or grace period became shorter, who gave it as far as it is known, and the time
-- below which records go by it.
alter table classes
  add column approval text,
  add column approved_by text,
  add column approved_before timestamptz,
  add constraint classes_approval check ((approval is null) = (approved_by is null) and (approval is null) = (approved_before is null));

-- `at` is when the step ended. Rows of an older version: done, and the rest is not known.
alter table ledger
  add column generation bigint,
  add column time_from timestamptz,
  add column time_to timestamptz,
  add column started timestamptz,
  add column outcome text not null default 'done',
  add column approval text,
  add column approved_by text;
