create table parts (id bigint primary key, made timestamp not null);
