"""Limits of archives. A few kilobytes can be made to unpack to petabytes."""

RATIO = 200
"""Bytes unpacked for each byte of the archive. Text and logs have 10 or 20, tables up to 100. The
formats allow a thousand and more, but only zeros or an attack reach that."""
ALLOWANCE = 64 * 1024 * 1024
"""Bytes that every archive may unpack to, at any ratio."""
TOTAL = 1024**4
"""Bytes that no archive may exceed: more than a usual server's disk."""
MEMBERS = 1_000_000
"""The most names in one archive. They are listed in memory, some 500 bytes each."""
DIRECTORY = 128 * 1024 * 1024
"""The most bytes of a zip's directory, which is read into memory."""
NAME = 4096
"""The most bytes of a name, as in the file system."""
STEP = 1024 * 1024
"""The most bytes that are unpacked at once, or read into memory as one header."""
WINDOW_LOG = 27
"""Binary logarithm of the window of Zstandard or LZMA, which is kept in memory: 128 MiB. The zstd
command allows as much by default, and its strongest level needs it."""


def unpacked_limit(size: int) -> int:
    """Return how many bytes an archive of ``size`` bytes may unpack to."""
    return min(TOTAL, max(ALLOWANCE, RATIO * size))
