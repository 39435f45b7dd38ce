create table parts (id integer primary key);
