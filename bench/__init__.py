"""Measurements beside peers, in one run each: ``python -m bench.hit``, ``coroutines``, ``race``,
``stampede``, ``outage``, ``files``, ``streams``, ``imports``, ``corruption``, ``counters``,
``whatif``, ``models``, ``writes`` and ``pages``; and of whole sites: ``scale``, ``deployed``,
``cluster``.

Each starts the memcached it needs, prints a table and writes ``bench/results/NAME.json``.
``python -m bench`` says which aims they meet.
``--quick`` takes seconds and writes only where ``--output`` says. Contenders take turns, round by
round, so that other work of the machine slows all of them alike; a claim is a ratio within one run.
"""
