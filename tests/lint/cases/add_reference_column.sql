alter table orders add column buyer_id bigint references buyers (id);
