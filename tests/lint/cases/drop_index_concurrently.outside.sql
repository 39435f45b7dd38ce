drop index concurrently orders_buyer;
