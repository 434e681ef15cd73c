"""The imported files: their content in the files region, and the queries of their index."""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from django.core.paginator import Paginator

from beakercache import cache
from tasks.models import ImportedFile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from regions import Content

PAGE_SIZE = 50
"""Files on one page of the index."""
INDEX_TAG = "files"
"""Of every entry that is made from the index."""


class ContentAway(OSError):
    """Content that is not stored, and cannot be read again from where it came."""


@cache.region("files", ignore=["arriving"])
def read_file(path: str, arriving: Callable[[], Iterator[bytes]] | None = None) -> Content:
    """Return the content of an imported file, by its path in the index.

    The import gives the content that is ``arriving``, in chunks. Without it the source that the
    index names is read again; raises ContentAway when that is gone or has changed, so that one
    path never stands for other content than its row in the index describes.
    """
    if arriving is not None:
        return arriving()
    row = ImportedFile.objects.filter(path_digest=path_digest(path)).first()
    if row is None:
        raise ContentAway(f"{path!r} is not in the index")
    source = Path(name_of(row.source))
    try:
        found = source.stat()
    except OSError as error:
        raise ContentAway(f"the source of {path!r} is away: {error.strerror}") from error
    if (found.st_size, found.st_mtime_ns) != (row.size, row.source_mtime_ns):
        raise ContentAway(f"the source of {path!r} has changed since it was imported")
    return source


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
        files = files.filter(path__icontains=search)
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
        imported_at=file.imported_at,
    )
