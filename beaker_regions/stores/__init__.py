"""Where entries are kept: one package a kind of store."""
