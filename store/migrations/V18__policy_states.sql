-- Who changed what keeps the records of each policy. V17 made the table `policy_states`.
alter table policy_states add column changed_by text;

-- Of a step `put-state`: who changed the policy, as far as it is known. Null for all others.
alter table ledger add column changed_by text;
