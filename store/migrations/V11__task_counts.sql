-- How many lines a task has, so that a page's total is read and not counted; and tasks that end by age. See store/src/tasks.rs. Besides: an
-- index for the groups of errors of a few tenants among many.

-- By everything that decides who may see a line, and what is asked of a task. By partition too: each is one writer's, so that no writer
-- waits for another's row.
create table task_counts (
  task_id text not null,
  namespace text not null,
  tenant text not null,
  topic_partition integer not null,
  audit boolean not null,
  level text not null,
  source text not null,
  lines bigint not null,
  -- When the last of them was stored.
  stored timestamptz not null default now(),
  primary key (task_id, namespace, tenant, topic_partition, audit, level, source),
  foreign key (task_id, namespace, tenant) references tasks on delete cascade
) with (fillfactor = 70);

-- Counted in the transaction of the lines, whichever version's writer adds them: a writer of an older one knows nothing of counts.
-- Lines are taken away only after their task, whose counts go with it.
create function count_task_lines() returns trigger language plpgsql security definer set search_path from current as $$
begin
  insert into task_counts as c (task_id, namespace, tenant, topic_partition, audit, level, source, lines)
    select a.task_id, a.namespace, a.tenant, a.topic_partition, a.audit, a.level, a.source, count(*)
      from added a group by 1, 2, 3, 4, 5, 6, 7 order by 1, 2, 3, 4, 5, 6, 7
    on conflict (task_id, namespace, tenant, topic_partition, audit, level, source)
      do update set lines = c.lines + excluded.lines, stored = excluded.stored;
  return null;
end $$;

create trigger task_logs_counted after insert on task_logs
  referencing new table as added for each statement execute function count_task_lines();

-- No line is added from here to the end of this transaction.
insert into task_counts (task_id, namespace, tenant, topic_partition, audit, level, source, lines, stored)
  select l.task_id, l.namespace, l.tenant, l.topic_partition, l.audit, l.level, l.source, count(*), least(max(l."timestamp"), now())
    from task_logs l join tasks using (task_id, namespace, tenant) group by 1, 2, 3, 4, 5, 6, 7;

create index tasks_created on tasks (created);

-- Tasks that ended by age, until their lines are taken away: those with ids up to this one. Lines that came later are a new task's.
create table task_ends (
  task_id text not null,
  namespace text not null,
  tenant text not null,
  upto bigint not null,
  primary key (task_id, namespace, tenant)
);

create index error_counts_tenant on error_counts (tenant, hour);
