alter table orders add constraint one_code unique (code);
