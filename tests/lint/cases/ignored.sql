-- squawk-ignore ban-drop-column
alter table orders drop column note;
