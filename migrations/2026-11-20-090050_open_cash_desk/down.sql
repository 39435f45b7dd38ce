DELETE FROM accounts WHERE id = 0;
