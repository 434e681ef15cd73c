"""Entries on Redis or Valkey servers."""
