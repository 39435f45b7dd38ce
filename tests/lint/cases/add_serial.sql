alter table orders add column number bigserial;
