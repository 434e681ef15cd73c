"""Entries on memcached servers."""
