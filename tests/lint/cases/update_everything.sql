update orders set state = 'old';
