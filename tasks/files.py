"""The imported files: their content in the files region, and the queries of their index."""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from django.core.paginator import Paginator

from beakercache import cache
from tasks.models import ImportedFile
from tasks.opening import Opener, open_source
from tasks.reading import Advance

if TYPE_CHECKING:
    from datetime import datetime

    from regions import CachedFile

PAGE_SIZE = 50
"""Files on one page of the index."""
INDEX_TAG = "files"
"""Of every entry that is made from the index."""


class ContentAway(OSError):
    """Content that is not stored, and cannot be read again from where it came."""


def _nobody(size: int) -> None:
    """Who is told of bytes where nobody waits for them."""


@cache.region("files", ignore=["advance", "opener"])
def read_file(
    source: str,
    size: int,
    mtime_ns: int,
    advance: Advance = _nobody,
    opener: Opener = open_source,
) -> BinaryIO:
    """Return the content of the file of the absolute name ``source`` (`opening.open_source`) as
    it was when it had ``size`` bytes and was modified at ``mtime_ns``; ``advance`` is told of the
    bytes read, and ``opener`` is a quicker way to the same file.

    A changed file is another entry, so whoever asks for the former version gets that or nothing.
    Raises OSError when the version is neither stored nor there any more.
    """
    return opener(source, size, mtime_ns, advance)


def content_of(file: FileRow) -> CachedFile:
    """Return the content that a row of the index describes. Raises ContentAway."""
    try:
        content = read_file(name_of(file.source), file.size, file.source_mtime_ns)
    except OSError as error:
        raise ContentAway(f"{file.path!r}, of {file.source!r}: {error}") from error
    if content.digest != file.digest:
        raise ContentAway(f"{file.source!r} holds other content than when it was imported")
    return content


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


# -- the index -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class FileRow:
    """One file of the index."""

    id: int
    path: str
    """Relative, with "/" between folders."""
    size: int
    """Bytes."""
    media_type: str
    digest: str
    """SHA-256 of the content, in hexadecimal."""
    source: str
    """The file it was read from, absolute (`path_of`)."""
    source_mtime_ns: int
    imported_at: datetime

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]

    @property
    def folder(self) -> str:
        """The path up to the name: empty, or ending in "/"."""
        return self.path[: len(self.path) - len(self.name)]


@dataclass(frozen=True, slots=True)
class FilePage:
    """One page of the index, or of what a search found in it."""

    rows: tuple[FileRow, ...]
    number: int
    """Of this page, from 1."""
    pages: int
    total: int
    """Files on all pages."""

    @property
    def previous(self) -> int:
        return self.number - 1

    @property
    def next(self) -> int:
        return self.number + 1


@cache.region("functions", tags=[INDEX_TAG])
def files_page(search: str, page: int) -> FilePage:
    """Return a page of the files whose path contains ``search``, by path; the nearest page there
    is."""
    files = ImportedFile.objects.order_by("path", "id")
    if search:
        # Unlike `icontains`, this folds the case of all letters on SQLite too.
        files = files.filter(path__iregex=re.escape(search))
    found = Paginator(files, PAGE_SIZE).get_page(page)
    return FilePage(
        rows=tuple(map(_row, found.object_list)),
        number=found.number,
        pages=found.paginator.num_pages,
        total=found.paginator.count,
    )


@cache.region("functions", tags=[INDEX_TAG])
def file_row(pk: int) -> FileRow | None:
    """Return one file of the index, or None."""
    file = ImportedFile.objects.filter(pk=pk).first()
    return None if file is None else _row(file)


def _row(file: ImportedFile) -> FileRow:
    return FileRow(
        id=file.pk,
        path=file.path,
        size=file.size,
        media_type=file.media_type,
        digest=file.digest,
        source=file.source,
        source_mtime_ns=file.source_mtime_ns,
        imported_at=file.imported_at,
    )
