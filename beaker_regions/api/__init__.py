"""Cached functions, values, counters and warming: the objects that an application uses."""
