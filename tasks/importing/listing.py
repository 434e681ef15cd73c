"""The files of a source as they were found, so that a source is walked once."""

from __future__ import annotations

import pickle
import zlib
from typing import TYPE_CHECKING

from tasks.importing.archives import MemberOpener
from tasks.importing.sources import Skipped, SourceFileInfo
from tasks.sources.open_source import open_source

if TYPE_CHECKING:
    from collections.abc import Iterator

BATCH = 500
"""Files that are packed together."""


class Listing:
    """Files in their order. Those of a folder or an archive are packed: some 30 bytes of memory
    each."""

    def __init__(self) -> None:
        self._packed: list[bytes | list[SourceFileInfo | Skipped]] = []
        self._latest: list[SourceFileInfo | Skipped] = []

    def add(self, found: SourceFileInfo | Skipped) -> None:
        self._latest.append(found)
        if len(self._latest) == BATCH:
            self._pack()

    def batches(self) -> Iterator[list[SourceFileInfo | Skipped]]:
        """Yield all files, and forget them."""
        self._pack()
        self._packed.reverse()
        while self._packed:
            batch = self._packed.pop()
            if isinstance(batch, bytes):
                found = pickle.loads(zlib.decompress(batch))
                yield [SourceFileInfo(*each) if isinstance(each, tuple) else each for each in found]
            else:
                yield batch

    def _pack(self) -> None:
        batch, self._latest = self._latest, []
        if not batch:
            return
        # What has another opener belongs to a manifest or a server, whose source keeps its list.
        if not all(isinstance(each, Skipped) or _can_be_packed(each) for each in batch):
            self._packed.append(batch)
            return
        packed = [tuple(each) if isinstance(each, SourceFileInfo) else each for each in batch]
        self._packed.append(zlib.compress(pickle.dumps(packed), level=1))


def _can_be_packed(found: SourceFileInfo) -> bool:
    return found.opener is open_source or isinstance(found.opener, MemberOpener)
