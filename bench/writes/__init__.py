"""Every way to write with Django's ORM, and the entries that are stale after it."""
