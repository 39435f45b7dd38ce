alter table orders add column state text default 'new';
