alter table orders add check (amount > 0) not valid;
