"""Tar archives, compressed or not, read from front to back."""

from __future__ import annotations

import posixpath
import tarfile
from io import BufferedReader
from typing import IO, TYPE_CHECKING, Self, cast

from tasks.sources.archives.damage import (
    ArchiveError,
    MemberCutError,
    StreamCutError,
    TooLargeError,
    UntrustedError,
    damage,
)
from tasks.sources.archives.limits import unpacked_limit
from tasks.sources.archives.members import Member
from tasks.sources.archives.unpacking import PlainFile, Readable, UnpackedFile
from tasks.sources.source_file import kind_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tasks.sources.archives.stored import ArchiveFile


_GNU = b"ustar  \0"
"""The magic of GNU's headers, at 257. Incremental archives have times where others have the
beginning of a name."""
_NO_FILES = {b"D", b"V"}
"""Types of GNU tar: a folder with the names in it, and the label of a volume."""


class _Info(tarfile.TarInfo):
    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        info = super().frombuf(buf, encoding, errors)
        if buf[257:265] == _GNU:
            name = bytes(buf[:100]).partition(b"\0")[0].decode(encoding, errors)
            info.name = name.rstrip("/") if info.isdir() else name
        return info


class TarArchive:
    """A tar. To go back to an earlier member, it is read again from the start."""

    in_any_order = False

    def __init__(
        self, source: ArchiveFile, unpack: Callable[[IO[bytes]], Readable] | None = None
    ) -> None:
        """Read ``source``, which is closed with this, through ``unpack``."""
        self._source = source
        self._packed = BufferedReader(source)
        self._unpack = unpack
        self._file: PlainFile | UnpackedFile
        self._tar: tarfile.TarFile
        self._rewind()

    def members(self) -> Iterator[Member]:
        self._rewind()
        latest: tarfile.TarInfo | None = None
        try:
            while (info := self._next()) is not None:
                latest = info
                yield _member(info)
            self._check_end()
        except (TooLargeError, UntrustedError):
            raise
        except ArchiveError as error:
            if not isinstance(error, StreamCutError):
                self._file.doubt()
            if latest is None or self._file.reached >= latest.offset_data + latest.size:
                raise
            raise MemberCutError(f"is cut short within {latest.name!r}") from error

    def open(self, member: Member) -> IO[bytes]:
        if member.position < self._tar.offset:
            self._rewind()
        while (info := self._next()) is not None:
            if info.offset == member.position:
                with damage():
                    content = self._tar.extractfile(info)
                    assert content is not None
                    return content
        raise ArchiveError("is not where the archive had it")

    def reopen(self) -> None:
        self._source.reopen()
        self._rewind()

    def verify(self) -> None:
        self._source.verify()

    def close(self) -> None:
        self._packed.close()

    def _rewind(self) -> None:
        self._packed.seek(0)
        size = self._source.size
        if self._unpack is None:
            self._file = PlainFile(self._packed, size)
        else:
            self._file = UnpackedFile(self._unpack(self._packed), unpacked_limit(size))
        with damage():
            self._tar = tarfile.TarFile(
                fileobj=cast("IO[bytes]", self._file), encoding="utf-8", tarinfo=_Info
            )

    def _next(self) -> tarfile.TarInfo | None:
        with damage():
            info = self._tar.next()
        # Without this, all members would be kept for lookups by name.
        self._tar.members.clear()  # type: ignore[attr-defined]
        return info

    def _check_end(self) -> None:
        """Raise ArchiveError unless the archive has its end mark. `tarfile` takes everything that
        is no header for the end."""
        with damage():
            self._file.seek(self._tar.offset)
            block = self._file.read(tarfile.BLOCKSIZE)
            if block != tarfile.NUL * tarfile.BLOCKSIZE:
                raise ArchiveError(
                    f"is damaged, or cut short, after {self._tar.offset} bytes of its content"
                )
            self._file.drain()


def _member(info: tarfile.TarInfo) -> Member:
    if info.isdir() or info.type in _NO_FILES:
        return Member(info.name, info.offset, is_folder=True)
    if info.issym():
        link = posixpath.join(posixpath.dirname(info.name), info.linkname)
        return Member(info.name, info.offset, link=link)
    if info.islnk():
        return Member(info.name, info.offset, link=info.linkname)
    if info.isreg():
        return Member(info.name, info.offset, info.size)
    kind = kind_of(_MODES.get(info.type, 0))
    return Member(info.name, info.offset, refusal=f"is {kind}, not a file", by_nature=True)


_MODES = {tarfile.CHRTYPE: 0o020000, tarfile.BLKTYPE: 0o060000, tarfile.FIFOTYPE: 0o010000}
