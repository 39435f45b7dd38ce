alter table orders add constraint buyer foreign key (buyer_id) references buyers (id);
