-- A shorter grace period is announced like a shorter retention: which one, so that a still shorter one is announced anew. Null beside
-- an announcement: the grace period in force.
alter table classes add column wanted_grace_us bigint check (wanted_grace_us >= 0);
