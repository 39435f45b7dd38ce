alter table orders add constraint one_code unique using index orders_code;
