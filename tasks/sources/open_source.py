"""Opening a file by its absolute name: a file, a file in an archive, or a URL."""

from __future__ import annotations

from collections.abc import Callable
from typing import BinaryIO

from beaker_regions import Resumable
from tasks.sources.archives.formats import SEPARATOR, open_member
from tasks.sources.fetching.downloads import Download
from tasks.sources.fetching.urls import is_url
from tasks.sources.progress import Progress
from tasks.sources.remote import RemoteFile, is_remote
from tasks.sources.source_file import SourceFile

Opener = Callable[[str, int | None, str, Progress], BinaryIO | Resumable]
"""Opens a file by its name, size (bytes; None: any) and version."""


def open_source(
    name: str, size: int | None, version: str, progress: Progress
) -> BinaryIO | Resumable:
    """Open a file of ``size`` bytes in this version. ``name`` is an absolute name without links,
    ``ARCHIVE//PATH`` for a file in an archive of this version, or a URL (http, or one for fsspec).
    ``progress`` counts the bytes that are read. Raises OSError if the file has changed."""
    if is_url(name):
        return Download(name, size, version, progress)
    if is_remote(name):
        return RemoteFile(name, size, version, progress)
    if SEPARATOR in name:
        return open_member(name, size, version, progress)
    return SourceFile(name, size, version, progress)
