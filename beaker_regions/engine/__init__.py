"""The promise: lookup, loading and invalidating entries of any store."""
