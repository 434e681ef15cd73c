"""The application: a task list, and files that were imported."""
