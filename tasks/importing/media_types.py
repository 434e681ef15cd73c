"""The media type of a file: from its name or, if the name has no known suffix, its first bytes."""

from __future__ import annotations

import functools
import mimetypes
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from beaker_regions import CachedFile

BINARY = "application/octet-stream"
SAMPLE = 4096
"""Bytes at the start of a file without a known suffix that are checked for being text."""
_COMPRESSED = {
    "br": "application/x-brotli",
    "bzip2": "application/x-bzip2",
    "compress": "application/x-compress",
    "gzip": "application/gzip",
    "xz": "application/x-xz",
}


def media_type(name: str, content: CachedFile) -> str:
    """Return the media type of the file ``name``."""
    # Two suffixes are known at the most. All names with the same have the same type.
    stem, *suffixes = name.rpartition("/")[2].rsplit(".", 2)
    by_name, encoding = _by_suffixes(".".join(("name" if stem.strip(".") else stem, *suffixes)))
    if encoding is not None:
        return _COMPRESSED.get(encoding, BINARY)
    if by_name is not None:
        return by_name
    with content.open() as file:
        start = file.read(SAMPLE)
    return "text/plain" if _is_text(start) else BINARY


@functools.lru_cache(1024)
def _by_suffixes(name: str) -> tuple[str | None, str | None]:
    # With "./" before it, guess_type() does not take the name for a URL ("data:…").
    return mimetypes.guess_type(f"./{name}", strict=False)


def _is_text(start: bytes) -> bool:
    try:
        start.decode()
    except UnicodeDecodeError as error:
        # The sample may end inside a character.
        if len(start) < SAMPLE or error.start < len(start) - 3:
            return False
    return bool(start) and b"\0" not in start
