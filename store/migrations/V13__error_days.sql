-- Counts of errors by day (of UTC), so that many days are read without their hours. See store/src/errors/days.rs.

-- At each time exactly the sum of error_counts, whoever changes that: a sealer or a pruning of an older version knows nothing of days.
create table error_days (
  day timestamptz not null, signature bigint not null, tenant text not null, namespace text not null, service text not null,
  level smallint not null, audit boolean not null, task_id text not null,
  count bigint not null,
  primary key (day, signature, tenant, namespace, service, level, audit, task_id)
) with (fillfactor = 70);
create index error_days_signature on error_days (signature, day);
create index error_days_tenant on error_days (tenant, day);

-- Rows are taken in the order of their keys, so that a sealer and a pruning wait for one another at most once.
create function count_error_days() returns trigger language plpgsql security definer set search_path from current as $$
begin
  if tg_op = 'INSERT' then
    insert into error_days as d (day, signature, tenant, namespace, service, level, audit, task_id, count)
      select date_trunc('day', a.hour, 'UTC'), a.signature, a.tenant, a.namespace, a.service, a.level, a.audit, a.task_id, sum(a.count)
        from added a group by 1, 2, 3, 4, 5, 6, 7, 8 order by 1, 2, 3, 4, 5, 6, 7, 8
      on conflict (day, signature, tenant, namespace, service, level, audit, task_id)
        do update set count = d.count + excluded.count;
  elsif tg_op = 'UPDATE' then
    insert into error_days as d (day, signature, tenant, namespace, service, level, audit, task_id, count)
      select date_trunc('day', a.hour, 'UTC'), a.signature, a.tenant, a.namespace, a.service, a.level, a.audit, a.task_id, sum(a.count)
        from (select hour, signature, tenant, namespace, service, level, audit, task_id, count from added
          union all select hour, signature, tenant, namespace, service, level, audit, task_id, -count from gone) a
        group by 1, 2, 3, 4, 5, 6, 7, 8 order by 1, 2, 3, 4, 5, 6, 7, 8
      on conflict (day, signature, tenant, namespace, service, level, audit, task_id)
        do update set count = d.count + excluded.count;
  else
    with gone_days as (
      select date_trunc('day', g.hour, 'UTC') as day, g.signature, g.tenant, g.namespace, g.service, g.level, g.audit, g.task_id,
          sum(g.count) as count
        from gone g group by 1, 2, 3, 4, 5, 6, 7, 8),
    locked as materialized (
      select day, signature, tenant, namespace, service, level, audit, task_id, g.count
        from error_days d join gone_days g using (day, signature, tenant, namespace, service, level, audit, task_id)
        order by 1, 2, 3, 4, 5, 6, 7, 8 for update of d)
    update error_days d set count = d.count - l.count from locked l
      where (d.day, d.signature, d.tenant, d.namespace, d.service, d.level, d.audit, d.task_id)
        = (l.day, l.signature, l.tenant, l.namespace, l.service, l.level, l.audit, l.task_id);
    delete from error_days d using (
        select distinct date_trunc('day', g.hour, 'UTC') as day, g.signature, g.tenant, g.namespace, g.service, g.level, g.audit, g.task_id
          from gone g) g
      where (d.day, d.signature, d.tenant, d.namespace, d.service, d.level, d.audit, d.task_id)
          = (g.day, g.signature, g.tenant, g.namespace, g.service, g.level, g.audit, g.task_id)
        and d.count = 0;
  end if;
  return null;
end $$;

create trigger error_counts_added after insert on error_counts
  referencing new table as added for each statement execute function count_error_days();
create trigger error_counts_changed after update on error_counts
  referencing new table as added old table as gone for each statement execute function count_error_days();
create trigger error_counts_gone after delete on error_counts
  referencing old table as gone for each statement execute function count_error_days();

-- No count is changed from here to the end of this transaction.
insert into error_days (day, signature, tenant, namespace, service, level, audit, task_id, count)
  select date_trunc('day', hour, 'UTC'), signature, tenant, namespace, service, level, audit, task_id, sum(count)
    from error_counts group by 1, 2, 3, 4, 5, 6, 7, 8;
analyze error_days;
