"""Keeps invalidations in the database until they are delivered.

With "regions.django.outbox" in INSTALLED_APPS an invalidation inside a transaction also writes a
row, in the same transaction; the row goes when the invalidation is delivered. So a process that
is killed between commit and delivery loses none: the next one that looks finds the row. It costs
an INSERT and a DELETE an invalidation.
"""
