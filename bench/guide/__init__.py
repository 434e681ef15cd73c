"""A task list as the common guides to Django and memcached build it, to measure beside.

Four stages, one after the other: no cache; the query's result under ``tasks.all``; a fragment a
row; the whole view, for which CSRF protection goes. ``BENCH_STAGE`` names the stage.
"""
