alter table orders add constraint positive check (amount > 0) not valid;
alter table orders validate constraint positive;
