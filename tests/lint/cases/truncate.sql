truncate table orders;
