"""The settings for development, production and tests."""
