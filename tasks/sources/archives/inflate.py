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

decompressobj = library.decompressobj
InflateError = library.error
"""What is raised for bytes that cannot be inflated."""
