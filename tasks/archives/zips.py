"""Zip archives."""

from __future__ import annotations

import posixpath
import stat
import zipfile
from io import BufferedReader
from typing import IO, TYPE_CHECKING

from tasks.archives.damage import damage
from tasks.archives.limits import NAME
from tasks.archives.members import Member
from tasks.reading import SourceFile, kind_of

if TYPE_CHECKING:
    from collections.abc import Iterator

_ENCRYPTED = 0x1
"""Of a member's flags (APPNOTE.TXT, section 4.4.4)."""
_UNIX = 3
"""The system whose file modes stand in the upper half of the external attributes (4.4.2)."""


class ZipArchive:
    """A zip. Its members are found by the directory at its end."""

    def __init__(self, source: SourceFile) -> None:
        """Read ``source``, which is closed with this. Raises ArchiveError when it is no zip."""
        self._source = source
        self._file = BufferedReader(source)
        with damage():
            self._zip = zipfile.ZipFile(self._file)

    def members(self) -> Iterator[Member]:
        for position, info in enumerate(self._zip.infolist()):
            yield self._member(position, info)

    def open(self, member: Member) -> IO[bytes]:
        with damage():
            return self._zip.open(self._zip.infolist()[member.position])

    def verify(self) -> None:
        self._source.verify()

    def close(self) -> None:
        self._zip.close()
        self._file.close()

    def _member(self, position: int, info: zipfile.ZipInfo) -> Member:
        name = info.filename
        if info.is_dir():
            return Member(name, position, is_folder=True)
        if info.flag_bits & _ENCRYPTED:
            return Member(name, position, refusal="is encrypted")
        mode = info.external_attr >> 16 if info.create_system == _UNIX else 0
        if stat.S_ISLNK(mode):
            return self._link(position, info)
        if stat.S_IFMT(mode) not in (0, stat.S_IFREG):
            return Member(name, position, refusal=f"is {kind_of(mode)}, not a file")
        return Member(name, position, info.file_size)

    def _link(self, position: int, info: zipfile.ZipInfo) -> Member:
        """Return a link, whose content is the name that it leads to."""
        if info.file_size > NAME:
            return Member(info.filename, position, refusal="is a link to too long a name")
        try:
            with damage(), self._zip.open(info) as content:
                target = content.read(NAME).decode("utf-8", "surrogateescape")
        except OSError as error:
            return Member(info.filename, position, refusal=error.strerror or str(error))
        link = posixpath.join(posixpath.dirname(info.filename), target)
        return Member(info.filename, position, link=link)
