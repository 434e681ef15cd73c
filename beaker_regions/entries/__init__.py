"""Plain data: entries, keys, tags, records, content, freshness."""
