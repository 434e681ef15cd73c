"""The folders of the imported files, with the number and size of the files in each."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from django.db.models import Count, Min, Sum

from beakercache import cache
from tasks.files.content import path_digest
from tasks.files.index import PAGE_SIZE, FilePage, row_of
from tasks.models import ImportedFile


def placing(path: str) -> dict[str, str]:
    """Return the columns of a row for its file's folder, and for its place in the sorted folder."""
    folder, _, name = path.rpartition("/")
    longest = ImportedFile._meta.get_field("sort_name").max_length
    return {"folder": path_digest(folder), "sort_name": name.casefold()[:longest]}


@dataclass(frozen=True, slots=True)
class FolderRow:
    """One folder among others."""

    path: str
    files: int
    """Files in it and in all folders below it."""
    size: int
    """Bytes of these."""

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]


@dataclass(frozen=True, slots=True)
class FolderPage(FilePage):
    """One page of a folder: its folders, then its files. The total includes all folders below."""

    folders: tuple[FolderRow, ...]
    size: int
    """Bytes of the total."""


@cache.region("functions", tags=["files"], version=1)
def folder_page(folder: str, page: int) -> FolderPage | None:
    """Return a page of a folder, or the nearest existing page. The folder "" is the root. Returns
    None if there is no such folder."""
    inside = f"{folder}/" if folder else ""
    sums: defaultdict[str, list[int]] = defaultdict(lambda: [0, 0])
    files = total = size = 0
    for path, (count, bytes_) in _folders().items():
        if path == folder:
            files = count
        elif path.startswith(inside):
            child = sums[inside + path[len(inside) :].partition("/")[0]]
            child[0] += count
            child[1] += bytes_
        else:
            continue
        total += count
        size += bytes_
    if folder and not total:
        return None
    folders = sorted(sums, key=lambda path: (path.casefold(), path))
    pages = max(1, -(-(len(folders) + files) // PAGE_SIZE))
    number = min(max(page, 1), pages)
    start = (number - 1) * PAGE_SIZE
    shown = folders[start : start + PAGE_SIZE]
    first = max(0, start - len(folders))
    inside_it = ImportedFile.objects.filter(folder=path_digest(folder))
    # This query needs only the database's index, so it skips 100,000 other rows quickly.
    ordered = inside_it.order_by("sort_name", "id").values_list("pk", flat=True)
    ids = list(ordered[first : first + PAGE_SIZE - len(shown)])
    rows = ImportedFile.objects.in_bulk(ids)
    return FolderPage(
        rows=tuple(row_of(rows[pk]) for pk in ids if pk in rows),
        number=number,
        pages=pages,
        total=total,
        folders=tuple(FolderRow(path, *sums[path]) for path in shown),
        size=size,
    )


@cache.region("functions", tags=["files"])
def _folders() -> dict[str, tuple[int, int]]:
    """Return the number and bytes of the files directly in each folder, by the folder's path.
    Folders without files are left out."""
    # The database's index has all of this but the paths, which come from one file of each folder.
    groups = ImportedFile.objects.order_by().values("folder").annotate(first=Min("pk"))
    sums = groups.annotate(files=Count("pk"), bytes=Sum("size"))
    firsts = ImportedFile.objects.filter(pk__in=groups.values("first"))
    paths = dict(firsts.values_list("pk", "path"))
    return {
        paths[first].rpartition("/")[0]: (files, int(size))
        for first, files, size in sums.values_list("first", "files", "bytes")
        if first in paths  # else it was added or removed between the two queries
    }
