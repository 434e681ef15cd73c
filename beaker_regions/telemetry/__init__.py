"""Counting and sampling what regions do."""
