"""Whole pages and fragments of pages in a region."""
