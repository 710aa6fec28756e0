"""iGRPO, an agent loop of verl."""
