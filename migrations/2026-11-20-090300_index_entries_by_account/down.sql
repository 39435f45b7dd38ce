DROP INDEX CONCURRENTLY entries_account_idx;
