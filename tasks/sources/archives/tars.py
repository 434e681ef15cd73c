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
from tasks.sources.archives.members import Member, inner_path
from tasks.sources.archives.unpacking import PlainFile, UnpackedFile
from tasks.sources.source_file import kind_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tasks.sources.archives.converted import Converted
    from tasks.sources.archives.limits import Limits
    from tasks.sources.archives.stored import ArchiveFile
    from tasks.sources.archives.streams import Unpacked


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
        self,
        source: ArchiveFile,
        limits: Limits,
        unpack: type[Unpacked | Converted] | None = None,
    ) -> None:
        """Read ``source``, which is closed with this, through ``unpack``."""
        self._source = source
        self._limits = limits
        self._unpack = unpack
        self._plain = BufferedReader(source)
        self._file: PlainFile | UnpackedFile = PlainFile(self._plain, source.size)
        self._tar: tarfile.TarFile
        self._latest: tarfile.TarInfo | None = None
        """The member that was read last."""
        try:
            self._rewind()
        except BaseException:
            self._file.close()
            raise

    @property
    def least(self) -> int:
        """Bytes that it unpacks to, at least."""
        if self._unpack is None:
            return self._source.size
        return self._unpack.least(cast("IO[bytes]", self._source), self._source.size)

    def members(self) -> Iterator[Member]:
        self._rewind()
        try:
            while (info := self._next()) is not None:
                if not _is_repeated(info):
                    yield _member(info)
            self._check_end()
        except (TooLargeError, UntrustedError):
            raise
        except ArchiveError as error:
            if not isinstance(error, StreamCutError):
                self._file.doubt()
            latest = self._latest
            if latest is None or self._file.reached >= latest.offset_data + latest.size:
                raise
            raise MemberCutError(f"is cut short within {latest.name!r}") from error

    def open(self, member: Member) -> IO[bytes]:
        if member.position < self._tar.offset and not self._is_latest(member):
            self._rewind()
        while not self._is_latest(member):
            if self._next() is None:
                raise ArchiveError("is not where the archive had it")
        assert self._latest is not None
        with damage():
            content = self._tar.extractfile(self._latest)
            assert content is not None
            return content

    def reopen(self) -> None:
        self._source.reopen()
        self._rewind()

    def verify(self) -> None:
        self._source.verify()

    def close(self) -> None:
        self._file.close()
        self._plain.close()

    def _is_latest(self, member: Member) -> bool:
        return self._latest is not None and self._latest.offset == member.position

    def _rewind(self) -> None:
        self._file.close()
        if self._unpack is None:
            self._plain.seek(0)
        else:
            # Not through the buffer: the stream reads many bytes at once, in a thread of its own.
            self._source.seek(0)
            stream = self._unpack(cast("IO[bytes]", self._source))
            self._file = UnpackedFile(stream, self._limits, self._source.size)
        self._latest = None
        with damage(), self._file.headers():
            self._tar = tarfile.TarFile(
                fileobj=cast("IO[bytes]", self._file), encoding="utf-8", tarinfo=_Info
            )

    def _next(self) -> tarfile.TarInfo | None:
        with damage(), self._file.headers():
            info = self._tar.next()
        if info is not None and self._tar.offset <= info.offset:
            # `tarfile` would read the same members again, without an end.
            raise ArchiveError(f"is damaged: {info.name!r} has a negative size")
        # Without this, all members would be kept for lookups by name.
        self._tar.members.clear()  # type: ignore[attr-defined]
        self._latest = info or self._latest
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


def _is_repeated(info: tarfile.TarInfo) -> bool:
    """Whether it is a hard link to itself. tar writes one for a file that is named to it twice."""
    return info.islnk() and inner_path(info.linkname) == inner_path(info.name)


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
