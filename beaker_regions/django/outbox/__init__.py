"""Keeps invalidations in the database until they are delivered, and lets no host read past them.

With "beaker_regions.django.outbox" in INSTALLED_APPS an invalidation inside a transaction also
writes a row, in the same transaction; the row goes when the invalidation is delivered. So a process
that is killed between commit and delivery loses none: the next one that looks finds the row. One
that cannot deliver leaves the row to the others, and waits until they know (`poller`). It costs an
INSERT and a DELETE an invalidation, and a query a second in each process.
"""
