alter table orders add column state text;
update orders set state = 'old';
