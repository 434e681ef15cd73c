"""Entries as files in a folder."""
