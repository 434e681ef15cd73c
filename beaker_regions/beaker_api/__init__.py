"""Beaker's own API (Cache, cache_region, sessions) on the engine."""
