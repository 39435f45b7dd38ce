INSERT INTO accounts (id, name) VALUES (0, 'cash desk');
