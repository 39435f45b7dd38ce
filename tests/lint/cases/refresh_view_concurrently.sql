refresh materialized view concurrently totals;
