-- Whose rules gave a group's signature, so that it is shown with its version. What is stored until now, and what a writer of an older version
-- still adds, is of the first one: neither knows the column. Two versions never give the same signature, so it is in no key.

alter table error_ring_0 add column version smallint not null default 1;
alter table error_ring_1 add column version smallint not null default 1;
alter table error_ring_2 add column version smallint not null default 1;
alter table error_ring_3 add column version smallint not null default 1;

create or replace view error_fresh as
select * from error_ring_0
  union all select * from error_ring_1
  union all select * from error_ring_2
  union all select * from error_ring_3;

alter table error_groups add column version smallint not null default 1;
