"""Zip archives."""

from __future__ import annotations

import contextlib
import os
import posixpath
import stat
import zipfile
from io import BufferedReader
from typing import IO, TYPE_CHECKING, Any

from tasks.sources.archives.damage import ArchiveError, TooLargeError, damage
from tasks.sources.archives.inflate import RAW, decompressobj
from tasks.sources.archives.limits import NAME, WINDOW, Limits
from tasks.sources.archives.members import Member
from tasks.sources.archives.streams import TOO_MUCH_MEMORY
from tasks.sources.source_file import kind_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tasks.sources.archives.stored import ArchiveFile

_ENCRYPTED = 0x1
"""The bit of a member's flags (APPNOTE.TXT, section 4.4.4)."""
_UTF8 = 0x800
"""The bit of a member whose name is in UTF-8; without it `zipfile` reads code page 437."""
_DOS = 0
_UNIX = 3
"""The system whose file modes stand in the upper half of the external attributes (4.4.2)."""


_LOCAL_HEADER = 30
"""Bytes before a member's name (4.3.7); at 26 are the lengths of the name and of what follows."""


class _Reader(BufferedReader):
    """A zip's file. It limits the directory, because `zipfile` reads all of it at once."""

    def __init__(self, source: ArchiveFile, limits: Limits) -> None:
        super().__init__(source)
        self._limits = limits

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > self._limits.directory:
            raise TooLargeError(
                f"has a directory of {size} bytes, which is refused; --archive-limit members=N "
                f"allows {self._limits.directory // self._limits.members} for each of N names"
            )
        return super().read(size)


class _Names(list[zipfile.ZipInfo]):
    """The list of members, to which `zipfile` adds them one by one."""

    def __init__(self, limits: Limits) -> None:
        super().__init__()
        self._limits = limits

    def append(self, info: zipfile.ZipInfo, /) -> None:
        if len(self) == self._limits.members:
            raise TooLargeError(self._limits.too_many())
        super().append(info)


class _ZipFile(zipfile.ZipFile):
    def __init__(self, file: _Reader, limits: Limits) -> None:
        self._limits = limits
        super().__init__(file)

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, _Names(self._limits) if name == "filelist" else value)


class ZipArchive:
    """A zip. The directory at its end lists its members."""

    in_any_order = True
    least = 0

    def __init__(self, source: ArchiveFile, limits: Limits) -> None:
        """Read ``source``, which is closed with this. Raises ArchiveError when it is no zip."""
        self._source = source
        self._file = _Reader(source, limits)
        with damage():
            self._zip = _ZipFile(self._file, limits)

    def members(self) -> Iterator[Member]:
        for position, info in enumerate(self._zip.infolist()):
            yield self._member(position, info)

    def open(self, member: Member) -> IO[bytes]:
        with damage():
            return self._opened(self._zip.infolist()[member.position])

    def reopen(self) -> None:
        self._source.reopen()

    def verify(self) -> None:
        self._source.verify()

    def close(self) -> None:
        self._zip.close()
        self._file.close()

    def _member(self, position: int, info: zipfile.ZipInfo) -> Member:
        name = _name(info)
        if name.endswith("/"):
            return Member(name, position, is_folder=True)
        if info.flag_bits & _ENCRYPTED:
            return Member(name, position, refusal="is encrypted")
        mode = info.external_attr >> 16 if info.create_system == _UNIX else 0
        if stat.S_ISLNK(mode):
            return self._link(position, info)
        if stat.S_IFMT(mode) not in (0, stat.S_IFREG):
            refusal = f"is {kind_of(mode)}, not a file"
            return Member(name, position, refusal=refusal, by_nature=True)
        return Member(name, position, info.file_size)

    def _opened(self, info: zipfile.ZipInfo) -> IO[bytes]:
        """Open a member. Raises TooLargeError for one whose dictionary is."""
        # The lock of those who read other members: there is one position in the file.
        with self._zip._lock:  # type: ignore[attr-defined]
            self._check_dictionary(info)
            content = self._zip.open(info)
        if info.compress_type == zipfile.ZIP_DEFLATED:
            content._decompressor = decompressobj(RAW)  # type: ignore[attr-defined]
        return content

    def _check_dictionary(self, info: zipfile.ZipInfo) -> None:
        """Raise TooLargeError for a member whose dictionary is."""
        if info.compress_type == zipfile.ZIP_LZMA:
            self._file.seek(info.header_offset)
            header = self._file.read(_LOCAL_HEADER)
            beside = int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:], "little")
            self._file.seek(beside, os.SEEK_CUR)
            # Version, length of the properties; of these one byte, and the size of the dictionary
            # (5.8.8). `zipfile` takes as much as that says.
            properties = self._file.read(9)
            if len(properties) < 9:
                raise ArchiveError("is cut short")
            if int.from_bytes(properties[5:9], "little") > WINDOW:
                raise TooLargeError(TOO_MUCH_MEMORY)

    def _link(self, position: int, info: zipfile.ZipInfo) -> Member:
        """Return a link, whose content is the name that it leads to."""
        if info.file_size > NAME:
            return Member(_name(info), position, refusal="is a link to too long a name")
        try:
            with damage(), self._opened(info) as content:
                target = content.read(NAME).decode("utf-8", "surrogateescape")
        except OSError as error:
            return Member(_name(info), position, refusal=error.strerror or str(error))
        link = posixpath.join(posixpath.dirname(_name(info)), target)
        return Member(_name(info), position, link=link)


def _name(info: zipfile.ZipInfo) -> str:
    """Return a member's name. Tools on Unix write UTF-8 without the flag for it, and some on
    Windows write backslashes between folders."""
    name = info.filename
    if info.create_system == _UNIX and not info.flag_bits & _UTF8:
        with contextlib.suppress(UnicodeError):
            name = name.encode("cp437").decode()
    if info.create_system == _DOS and "/" not in name:
        name = name.replace("\\", "/")
    return name
