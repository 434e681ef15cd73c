"""Pages of a view, and fragments of a template, in a region."""
