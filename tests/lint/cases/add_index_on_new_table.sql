create table parts (id bigint primary key, maker text);
create index parts_maker on parts (maker);
