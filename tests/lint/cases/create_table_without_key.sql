create table parts (maker text);
