"""Inflating: the unpacking of what gzip and zip have packed.

Intel's ISA-L takes less than half of zlib's time for it. python-isal has its functions under the
names of the module `zlib`, which is used where there is no python-isal.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    library = zlib
else:
    try:
        from isal import isal_zlib as library
    except ImportError:
        library = zlib

GZIP = 16 + zlib.MAX_WBITS
"""The argument of `decompressobj` for the format of gzip, whose checksum is verified."""
RAW = -zlib.MAX_WBITS
"""The argument for a member of a zip, which has no header."""

FLAGS = 3
"""The position of the flags in the header of a gzip member (RFC 1952)."""
_TEXT, _FIELDS = 1, (0, 4, 8, 16)
"""Flags: one that says nothing, and those of headers with one optional field, or none."""

decompressobj = library.decompressobj
InflateErrors = library.error, zlib.error
"""What is raised for bytes that cannot be inflated."""


def gzip_decompressor(flags: int) -> zlib._Decompress:
    """Return what unpacks a gzip member with these flags in its header."""
    # ISA-L loses its place in a header with several fields, or with a checksum, that arrives in
    # two parts; and it takes headers with flags that nobody knows.
    make = decompressobj if flags & ~_TEXT in _FIELDS else zlib.decompressobj
    return make(GZIP)
