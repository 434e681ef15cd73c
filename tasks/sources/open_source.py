"""Opening what an absolute name stands for: a file, a file in an archive, or a URL."""

from __future__ import annotations

from collections.abc import Callable
from typing import BinaryIO

from beaker_regions import Resumable
from tasks.sources.archives.formats import SEPARATOR, open_member
from tasks.sources.fetching.downloads import Download
from tasks.sources.fetching.urls import is_url
from tasks.sources.source_file import ProgressCallback, SourceFile

Opener = Callable[[str, int | None, str, ProgressCallback], BinaryIO | Resumable]
"""Opens a file by its name, size (bytes; None: any) and version."""


def open_source(
    name: str, size: int | None, version: str, watch: ProgressCallback
) -> BinaryIO | Resumable:
    """Open the file ``name``, absolute and without links, of ``size`` bytes and in this version;
    or, as ``ARCHIVE//PATH``, one in an archive of this version; or the content of a URL. ``watch``
    is told of the bytes that are read. Raises OSError for what is not that any more."""
    if is_url(name):
        return Download(name, size, version, watch)
    if SEPARATOR in name:
        return open_member(name, size, version, watch)
    return SourceFile(name, size, version, watch)
