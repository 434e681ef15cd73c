"""Archives as sources of files: what is in them, and reading it without unpacking them.

`members` says what an archive is, `zips` and `tars` are its kinds, `unpacking` reads compressed
ones with bounds, and `formats` tells the kinds apart and opens single members.
"""
