"""What `manage.py regions` prints."""
