"""What one machine does at 1 to 8 processes, and what 1 to 1,000 hosts would ask of memcached:
``python -m bench.scale``.

`functions` and `served` measure, and `servers` says what memcached did during that time; `model` is
arithmetic over what they found; `tables` and `plot` show both, and `document` puts them into
``docs/scale.md`` and ``docs/scale.svg``.
"""
