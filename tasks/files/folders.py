"""The folders of the imported files: what lies in each, and how much that is."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from django.db.models import Count, Min, Sum

from beakercache import cache
from tasks.files.content import path_digest
from tasks.files.index import PAGE_SIZE, FilePage, row_of
from tasks.models import ImportedFile
from tasks.tags import FILES_TAG


def placing(path: str) -> dict[str, str]:
    """Return the columns of a row that say where its file lies, and where among the others."""
    folder, _, name = path.rpartition("/")
    longest = ImportedFile._meta.get_field("sort_name").max_length
    return {"folder": path_digest(folder), "sort_name": name.casefold()[:longest]}


@dataclass(frozen=True, slots=True)
class FolderRow:
    """One folder among others."""

    path: str
    files: int
    """In it and in all folders in it."""
    size: int
    """Bytes of these."""

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]


@dataclass(frozen=True, slots=True)
class FolderPage(FilePage):
    """One page of what lies in a folder: its folders, then its files. The total is that of the
    folder and of all folders in it."""

    folders: tuple[FolderRow, ...]
    size: int
    """Bytes of the total."""


@cache.region("functions", tags=[FILES_TAG], version=1)
def folder_page(folder: str, page: int) -> FolderPage | None:
    """Return a page of a folder, "" for the one that holds all; the nearest page there is. None
    when there is no such folder."""
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
    # The index alone tells which rows these are, and so passes over 100,000 others quickly.
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


@cache.region("functions", tags=[FILES_TAG])
def _folders() -> dict[str, tuple[int, int]]:
    """Return, by the paths of folders, how many files lie in the folder itself, and the bytes of
    these; of all folders that have any."""
    # An index has all that this needs but the paths, of which one file of each folder tells.
    groups = ImportedFile.objects.order_by().values("folder").annotate(first=Min("pk"))
    sums = groups.annotate(files=Count("pk"), bytes=Sum("size"))
    firsts = ImportedFile.objects.filter(pk__in=groups.values("first"))
    paths = dict(firsts.values_list("pk", "path"))
    return {
        paths[first].rpartition("/")[0]: (files, int(size))
        for first, files, size in sums.values_list("first", "files", "bytes")
        if first in paths  # else it has come, or gone, between the two queries
    }
