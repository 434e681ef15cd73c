"""The lists: whose they are, their tasks, their order, changes and deletions."""
