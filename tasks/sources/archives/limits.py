"""How much an archive may unpack to. A few kilobytes can be made to say petabytes."""

RATIO = 200
"""Bytes unpacked for each byte of the archive. Text and logs come to 10 or 20, tables to 100; the
thousand and more that the formats can do is zeros, or somebody's intent."""
ALLOWANCE = 64 * 1024 * 1024
"""Bytes that every archive may unpack to: no ratio is suspicious where there is so little."""
TOTAL = 1024**4
"""Bytes that no archive may exceed: more than the disk of a server that this runs on."""
MEMBERS = 1_000_000
"""Names in one archive, which are listed in memory: some 500 bytes each."""
DIRECTORY = 128 * 1024 * 1024
"""Bytes of the directory of a zip, which is read into memory."""
NAME = 4096
"""Bytes in a name, as in the names of the file system."""
STEP = 1024 * 1024
"""Bytes that are unpacked at once, or read into memory as one header."""
WINDOW_LOG = 27
"""Binary logarithm of the bytes that Zstandard, or LZMA, may go back, which it keeps in memory:
128 MiB, as much as the zstd command takes by default, and its strongest level needs."""


def unpacked_limit(size: int) -> int:
    """Return how many bytes an archive of ``size`` bytes may unpack to."""
    return min(TOTAL, max(ALLOWANCE, RATIO * size))
