"""Settings, by where the project runs: development, production, test."""
