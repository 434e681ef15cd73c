"""What a decorated function is, and the values, counters and warming beside it."""
