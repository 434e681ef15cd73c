"""Beaker's own front (Cache, cache_region, sessions) on the engine."""
