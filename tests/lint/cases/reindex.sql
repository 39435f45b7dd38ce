reindex index orders_buyer;
