"""The index of the imported files, as its pages show it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.core.paginator import Paginator

from beakercache import cache
from tasks.models import ImportedFile

if TYPE_CHECKING:
    from datetime import datetime

PAGE_SIZE = 50
"""Files on one page."""


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
    """The file it was read from, absolute (`path_of`), or the URL."""
    version: str
    """The version of the source, in the form of its kind of source."""
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
    """One page of the index, or of the results of a search."""

    rows: tuple[FileRow, ...]
    number: int
    """The number of this page, from 1."""
    pages: int
    total: int
    """Files on all pages."""

    @property
    def previous(self) -> int:
        return self.number - 1

    @property
    def next(self) -> int:
        return self.number + 1


@cache.region("functions", tags=["files"])
def files_page(search: str, page: int) -> FilePage:
    """Return a page of the files whose path contains ``search``, by path, or the nearest existing
    page."""
    files = ImportedFile.objects.order_by("path", "id")
    if search:
        files = files.filter(path__contains_folded=search)
    found = Paginator(files, PAGE_SIZE).get_page(page)
    return FilePage(
        rows=tuple(map(row_of, found.object_list)),
        number=found.number,
        pages=found.paginator.num_pages,
        total=found.paginator.count,
    )


@cache.region("functions", tags=["files"])
def file_row(pk: int) -> FileRow | None:
    """Return one file of the index, or None."""
    file = ImportedFile.objects.filter(pk=pk).first()
    return None if file is None else row_of(file)


def row_of(file: ImportedFile) -> FileRow:
    """Return a file's row of the index."""
    return FileRow(
        id=file.pk,
        path=file.path,
        size=file.size,
        media_type=file.media_type,
        digest=file.digest,
        source=file.source,
        version=file.version,
        imported_at=file.imported_at,
    )
