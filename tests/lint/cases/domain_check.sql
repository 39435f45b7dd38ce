alter domain email add constraint has_at check (value like '%@%');
