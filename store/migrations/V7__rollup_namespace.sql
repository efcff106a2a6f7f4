-- Counts by namespace: who may read some namespaces only is shown the counts of these alone. What was counted before has none: ''.
alter table rollup_ring_0 add column namespace text not null default '';
alter table rollup_ring_1 add column namespace text not null default '';
alter table rollup_ring_2 add column namespace text not null default '';
alter table rollup_ring_3 add column namespace text not null default '';

create or replace view rollup_fresh as
select * from rollup_ring_0
  union all select * from rollup_ring_1
  union all select * from rollup_ring_2
  union all select * from rollup_ring_3;

alter table rollup add column namespace text not null default '';
alter table rollup drop constraint rollup_pkey;
alter table rollup add primary key (minute, tenant, namespace, service, source, level);
