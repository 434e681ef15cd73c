"""Files of the index that are no longer in their source: they are forgotten, or kept.

A disk that is not mounted looks as if its files had been deleted. So too many files are not
forgotten unless the operator allows their number, and neither are those of a folder that is empty
now, or of a disk that was mounted at the last import and is not now.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from django.utils import timezone

from tasks.importing.folders import FolderSource
from tasks.importing.index import forget, keep, number_from, paths_from, rows_with
from tasks.importing.mounts import Mounts
from tasks.importing.selection import Selection
from tasks.importing.sources import SourceError
from tasks.importing.texts import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tasks.importing.sources import Source

FEW = 10
"""As many files may be forgotten without a question."""
_NAMED = 3
"""Folders that a message names."""


class GoneFiles:
    """The selected files of the index that a run over a source has not found in it."""

    def __init__(self, source: Source, into: str, selection: Selection) -> None:
        self._source = source
        self._mine = source.root, into
        self._below = f"{into}/" if into else ""
        self._selection = selection
        self._began = timezone.now()
        self._present: set[bytes] = set()
        self._unreadable: tuple[str, ...] = ()
        self._mounts = Mounts(source.folder) if isinstance(source, FolderSource) else None

    def begin(self) -> None:
        """Note the disks of the source, before files of them get rows."""
        if self._mounts is not None:
            self._mounts.note()

    @property
    def _is_whole(self) -> bool:
        return self._selection == Selection() and self._source.covers("")

    @property
    def may_hide(self) -> bool:
        """Whether a part of the source could not be read, and its files may still be there."""
        return bool(self._unreadable)

    def saw(self, digests: Iterable[str]) -> None:
        """Note the files with these digests of their paths: they are in the source."""
        self._present.update(map(bytes.fromhex, digests))

    def could_not_read(self, path: str) -> None:
        """Note a folder that could not be read, by its path below the source; "" for all of it."""
        self._unreadable += (f"{path}/" if path else "",)

    def forget(self, most: int | None) -> int:
        """Forget the files; return their number. ``most``: see `allowed`. Raises SourceError."""
        gone = self.allowed(most)
        forget(gone, *self._mine)
        if self._mounts is not None and most is not None and self._is_whole:
            self._mounts.forget_away()
        return len(gone)

    def kept(self) -> Iterator[tuple[str, bool]]:
        """Store the content of each file for another period if it has expired; yield its path, and
        whether its content is stored."""
        for row in rows_with(self._find()[0]):
            yield row.path, keep(row)

    def paths(self, keys: list[int] | None = None) -> Iterator[str]:
        """Yield the paths of the files, or of those with the given primary keys."""
        return (row.path for row in rows_with(self._find()[0] if keys is None else keys))

    def allowed(self, most: int | None) -> list[int]:
        """Return the primary keys of the files. Raises SourceError if there are more than ``most``.

        None stands for half of the files that were imported from the source, no file of a disk
        that was mounted, and no folder of which all files are gone, and that may be where a disk
        was.
        """
        gone, emptied = self._find()
        if most is not None and len(gone) <= most:
            return gone
        before = number_from(*self._mine)
        if most is not None or len(gone) > max(FEW, before // 2):
            raise SourceError(
                f"{len(gone)} of {before} files would be forgotten, and none was; if no disk is "
                f"away, and they are really gone, give --max-forget {len(gone)}"
            )
        away = self._not_mounted(gone)
        if away:
            raise SourceError(
                f"{_named(away)}: a disk was mounted there when files were imported, and is not "
                f"now; none of {len(gone)} files was forgotten; mount it, or, if they are really "
                f"gone, give --max-forget {len(gone)}"
            )
        away = [each for each, files in emptied.items() if files > FEW and self._may_be_away(each)]
        if away:
            raise SourceError(
                f"no file is left in {_named(away)}, and none of {len(gone)} files was forgotten; "
                f"if no disk is away, and they are really gone, give --max-forget {len(gone)}"
            )
        return gone

    def _find(self) -> tuple[list[int], dict[str, int]]:
        """Return the primary keys of the files, and the folders without any other file with the
        number of files that are gone from each. A folder within another one is not named."""
        gone, in_folder = [], Counter[str]()
        with_files = {""}
        for key, digest, path, imported_at in paths_from(*self._mine):
            inside = path[len(self._below) :]
            folder = inside.rpartition("/")[0]
            # Another run may have found a file that came after this run had looked.
            if bytes.fromhex(digest) in self._present or imported_at >= self._began:
                while folder not in with_files:
                    with_files.add(folder)
                    folder = folder.rpartition("/")[0]
            elif (
                inside in self._selection
                and self._source.covers(inside)
                and not inside.startswith(self._unreadable)
            ):
                gone.append(key)
                in_folder[folder] += 1
        emptied = Counter[str]()
        for folder, files in in_folder.items():
            top, above = "", folder
            while above not in with_files:
                top, above = above, above.rpartition("/")[0]
            if top:
                emptied[top] += files
        return gone, emptied

    def _not_mounted(self, gone: list[int]) -> list[str]:
        """Return the mount points that are none now, and that had some of these files."""
        away = self._mounts.away() if self._mounts is not None and gone else []
        if not away:
            return []
        sources = [row.source for row in rows_with(gone)]
        return [each for each in away if any(name.startswith(f"{each}/") for name in sources)]

    def _may_be_away(self, folder: str) -> bool:
        source = self._source
        return isinstance(source, FolderSource) and source.may_be_without_disk(folder)


def _named(folders: list[str]) -> str:
    named = ", ".join(repr(printable(each)) for each in folders[:_NAMED])
    more = len(folders) - _NAMED
    return f"{named} and {more} other folders" if more > 0 else named
