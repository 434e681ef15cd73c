"""The stores that a region can be kept in, one module a type."""
