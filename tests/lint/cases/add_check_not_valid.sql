alter table orders add constraint positive check (amount > 0) not valid;
