"""This project as it is served for the measurement of its pages.

``BENCH_STAGE`` names what is kept: ``uncached``, ``query`` or ``page``; the last is the project as
it is.
"""
