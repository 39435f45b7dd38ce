create index orders_buyer on orders (buyer_id);
