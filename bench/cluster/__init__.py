"""Several hosts on one machine, under faults: ``python -m bench.cluster`` (``make cluster-test``).

`network` makes hosts of Linux network namespaces, `machines` runs servers and workers on them,
`worker` is an application process, `board` where all of them count, and `faults` what is done to
them.
"""
