"""iGRPO, which is an agent loop of verl."""
