"""What stores on servers have in common: memcached, and Redis or Valkey."""
