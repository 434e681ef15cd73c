"""Entries in any other type of storage that Beaker has."""
