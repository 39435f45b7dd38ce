create table parts (id bigint primary key, maker varchar(20));
