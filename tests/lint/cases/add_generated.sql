alter table orders add column total bigint generated always as (price * count) stored;
