CREATE INDEX CONCURRENTLY entries_account_idx ON entries (account);
