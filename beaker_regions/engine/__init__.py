"""The promise: reading, loading and invalidating entries of any store."""
