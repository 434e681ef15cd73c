"""The common part of stores on servers: memcached, and Redis or Valkey."""
