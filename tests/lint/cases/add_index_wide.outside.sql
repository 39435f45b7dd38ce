create index concurrently orders_wide on orders (a, b, c, d);
