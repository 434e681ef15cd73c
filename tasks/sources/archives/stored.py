"""The content of an archive that the files region keeps, such as one that was downloaded."""

from __future__ import annotations

from io import SEEK_SET, RawIOBase
from typing import TYPE_CHECKING

from tasks.sources.source_file import SourceFile

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

    from beaker_regions import CachedFile


class StoredArchive(RawIOBase):
    """An archive that is stored, open for reading. Stored content never changes."""

    def __init__(self, content: CachedFile) -> None:
        super().__init__()
        self._content = content
        self._file = content.open()

    @property
    def size(self) -> int:
        """Bytes."""
        return self._content.size

    def verify(self) -> None:
        """Nothing can have changed."""

    def reopen(self) -> None:
        """Take a position of its own, the same, in a process that was forked from another."""
        position = self._file.tell()
        self._file.close()
        self._file = self._content.open()
        self._file.seek(position)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        return self._file.readinto(buffer)

    def seek(self, position: int, whence: int = SEEK_SET, /) -> int:
        return self._file.seek(position, whence)

    def tell(self) -> int:
        return self._file.tell()

    def close(self) -> None:
        self._file.close()
        self._content.close()
        super().close()


ArchiveFile = SourceFile | StoredArchive
"""What an archive is read from."""
