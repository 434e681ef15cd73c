"""The views: they answer requests."""
