"""The stores: one package for each kind."""
