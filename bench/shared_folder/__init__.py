"""A folder that two hosts share over a real network file system: ``python -m bench.shared_folder``.

`volume` starts GlusterFS and mounts it on two hosts, `workers` are the application's processes on
them, and `situations` what they do, and what is done to them.
"""
