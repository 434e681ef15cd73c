"""The imported files: their content in the files region, and their names."""

from __future__ import annotations

import hashlib
import os
import re
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, BinaryIO

from beakercache import cache
from tasks.sources.fetching.urls import is_url
from tasks.sources.open_source import Opener, open_source
from tasks.sources.source_file import NO_PROGRESS, ProgressCallback

if TYPE_CHECKING:
    from beaker_regions import CachedFile, Resumable
    from tasks.files.index import FileRow


class ContentAway(OSError):
    """Content that is not stored, and cannot be read again from where it came."""


def _identity(source: str, size: int | None, version: str, *_: object) -> tuple[object, ...]:
    # The size of what a URL stands for may be known only when all of it has come.
    return (source, version) if is_url(source) else (source, version, size)


@cache.region("files", key=_identity)
def read_file(
    source: str,
    size: int | None,
    version: str,
    progress: ProgressCallback = NO_PROGRESS,
    opener: Opener = open_source,
) -> BinaryIO | Resumable:
    """Return the content of the file of the absolute name, or URL, ``source`` in this version
    (`opening.open_source`), of ``size`` bytes if that is known; ``progress`` is told of the bytes
    read, and ``opener`` is a quicker way to the same file.

    A changed file is another entry, so whoever asks for the former version gets that or nothing.
    Raises OSError when the version is neither stored nor there any more.
    """
    return opener(source, size, version, progress)


def content_of(file: FileRow) -> CachedFile:
    """Return the content that a row of the index describes. Raises ContentAway."""
    try:
        content = read_file(name_of(file.source), file.size, file.version)
    except OSError as error:
        raise ContentAway(f"{file.path!r}, of {file.source!r}: {error}") from error
    if content.digest != file.digest:
        raise ContentAway(f"{file.source!r} holds other content than when it was imported")
    return content


def old_copy_of(content: CachedFile) -> datetime | None:
    """Return when content was stored that has expired, and is served while, or because, it cannot
    be read again; None for content as it should be."""
    if time.time() < content.stored_at + read_file.policy.expire:
        return None
    return datetime.fromtimestamp(content.stored_at, UTC)


# -- names ---------------------------------------------------------------------------------


def path_digest(path: str) -> str:
    """Return what identifies a path in the index, whatever the database's collation folds."""
    return hashlib.sha256(path.encode("utf-8", "surrogatepass")).hexdigest()


def path_of(name: str) -> str:
    r"""Return a file's name as text that every database takes: a byte that is not UTF-8 becomes
    ``\xNN``, a backslash two. No two names become one, and `name_of` turns it back."""
    return os.fsencode(name).replace(b"\\", b"\\\\").decode("utf-8", "backslashreplace")


def name_of(path: str) -> str:
    """Return the name in the file system that `path_of` made ``path`` of."""

    def byte(escape: re.Match[bytes]) -> bytes:
        return b"\\" if escape[1] == b"\\" else bytes.fromhex(escape[1][1:].decode())

    return os.fsdecode(re.sub(rb"\\(\\|x[0-9a-f]{2})", byte, path.encode()))
