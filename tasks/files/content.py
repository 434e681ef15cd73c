"""The content of imported files, in the files region, and the names of files."""

from __future__ import annotations

import hashlib
import math
import os
import re
import time
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from beakercache import cache
from tasks.sources.archives.formats import archive_in, member_in
from tasks.sources.archives.stored import StoredArchive
from tasks.sources.fetching.urls import archive_and_path, has_scheme
from tasks.sources.is_current import is_current
from tasks.sources.open_source import Opener, open_source
from tasks.sources.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Iterator

    from beaker_regions import CachedFile, Resumable
    from tasks.files.index import FileRow


class ContentUnavailableError(OSError):
    """Content is not stored, and cannot be read again from its source."""


class _Opening(NamedTuple):
    """How `read_file` opens a file."""

    opener: Opener
    progress: Progress
    """Counts the bytes that are read."""
    is_new: bool = False
    is_checked: bool = False


_opening: ContextVar[_Opening | None] = ContextVar("opening", default=None)


class opened_by:  # noqa: N801 a function to those who write ``with opened_by(…)``
    """Within this block, `read_file` in this thread opens a file with ``opener``, and ``progress``
    counts the bytes that are read. ``is_new``: it does not look for expired content first.
    ``is_checked``: the source has just said that it has this version."""

    def __init__(
        self, opener: Opener, progress: Progress, *, is_new: bool = False, is_checked: bool = False
    ) -> None:
        self._opening = _Opening(opener, progress, is_new, is_checked)

    def __enter__(self) -> None:
        self._token = _opening.set(self._opening)

    def __exit__(self, *_: object) -> None:
        _opening.reset(self._token)


def _identity(source: str, size: int | None, version: str) -> tuple[object, ...]:
    # The size of a URL's content may be unknown until all of the content was received.
    return (source, version) if has_scheme(source) else (source, version, size)


@cache.region("files", key=_identity)
def read_file(
    source: str,
    size: int | None,
    version: str,
) -> BinaryIO | Resumable | CachedFile:
    """Return the content of one version of a file (`open_source`). ``source`` is its absolute name
    or URL; ``size`` is in bytes, None if it is unknown.

    A changed file is another entry: a call for the former version returns that version or fails.
    Raises OSError if the version is not stored and can no longer be read from its source.
    """
    opening = _opening.get() or _Opening(_open, Progress())
    kept = None if opening.is_new else read_file.peek_stale(source, size, version)
    if (
        kept is not None
        and (opening.is_checked or _keeping.get() or is_current(source, size, version))
        and is_intact(kept)
    ):
        return kept  # stored for another period, without reading the source
    opening.progress.begun = True
    return opening.opener(source, size, version, opening.progress)


def _open(source: str, size: int | None, version: str, progress: Progress) -> BinaryIO | Resumable:
    """Open a file as `open_source` does. An archive at a URL is stored in this region, too."""
    inside = archive_and_path(source)
    if inside is None:
        return open_source(source, size, version, progress)
    url, path = inside
    archive = archive_in(StoredArchive(read_file(url, None, version)), url)
    return member_in(archive, path, size, progress)


_keeping: ContextVar[bool] = ContextVar("keeping", default=False)


@contextmanager
def kept_without_source() -> Iterator[None]:
    """Within this block, `read_file` in this thread does not ask the source whether expired content
    is still valid."""
    token = _keeping.set(True)
    try:
        yield
    finally:
        _keeping.reset(token)


def is_intact(kept: CachedFile) -> bool:
    """Whether content still has its digest. Raises OSError."""
    with kept.open() as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == kept.digest


def content_of(file: FileRow) -> CachedFile:
    """Return the content that a row of the index describes. Raises ContentUnavailableError."""
    try:
        content = read_file(name_of(file.source), file.size, file.version)
    except OSError as error:
        raise ContentUnavailableError(f"{file.path!r}, of {file.source!r}: {error}") from error
    if content.digest != file.digest:
        raise ContentUnavailableError(
            f"{file.source!r} holds other content than when it was imported"
        )
    return content


def lifetime() -> float | None:
    """Return the seconds for which content stays after it was stored, if it is not renewed. None:
    for ever."""
    policy = read_file.policy
    seconds = policy.expire + policy.grace
    return None if math.isinf(seconds) else seconds


def old_copy_of(content: CachedFile) -> datetime | None:
    """Return when expired content was stored. It is served until it can be read again. Return None
    for content that has not expired."""
    if time.time() < content.stored_at + read_file.policy.expire:
        return None
    return datetime.fromtimestamp(content.stored_at, UTC)


# -- names ---------------------------------------------------------------------------------


def path_digest(path: str) -> str:
    """Return the identity of a path in the index, for any collation of the database."""
    return hashlib.sha256(path.encode("utf-8", "surrogatepass")).hexdigest()


def path_of(name: str) -> str:
    r"""Return a file's name as text that every database takes: a byte that is not UTF-8 becomes
    ``\xNN``, a backslash two. No two names become one, and `name_of` turns it back."""
    if name.isascii() and "\\" not in name:
        return name
    return os.fsencode(name).replace(b"\\", b"\\\\").decode("utf-8", "backslashreplace")


def name_of(path: str) -> str:
    """Return the name in the file system that `path_of` turned into ``path``."""

    def byte(escape: re.Match[bytes]) -> bytes:
        return b"\\" if escape[1] == b"\\" else bytes.fromhex(escape[1][1:].decode())

    return os.fsdecode(re.sub(rb"\\(\\|x[0-9a-f]{2})", byte, path.encode()))
