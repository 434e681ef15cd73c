"""Pending invalidations in the database: they survive a crash, and no host reads stale data.

With "beaker_regions.django.outbox" in INSTALLED_APPS, an invalidation inside a transaction also
writes a row, in the same transaction. The row is deleted when the stores have applied the
invalidation. If a process is killed between the commit and that moment, another process finds the
row and applies it. A process that cannot reach a server leaves its row to the others, and waits
until they know of it (`poller`). The cost is one INSERT and one DELETE for each invalidation, and
one query a second in each process.
"""
