"""The formats of archives, found by their suffixes, and opening members by absolute names."""

from __future__ import annotations

import errno
import functools
import os
from typing import IO, TYPE_CHECKING, BinaryIO, cast

from tasks.sources.archives.converted import Converted, formats_of
from tasks.sources.archives.limits import Limits
from tasks.sources.archives.members import MemberStream, inner_path
from tasks.sources.archives.streams import Bz2Unpacked, GzipUnpacked, XzUnpacked, ZstdUnpacked
from tasks.sources.archives.tars import TarArchive
from tasks.sources.archives.zips import ZipArchive
from tasks.sources.source_file import SourceChangedError, SourceFile, file_version

if TYPE_CHECKING:
    from collections.abc import Callable

    from tasks.sources.archives.members import Archive
    from tasks.sources.archives.stored import ArchiveFile
    from tasks.sources.progress import Progress

SEPARATOR = "//"
"""Stands between an archive's absolute name and a path in it. No name without links has it."""

_FORMATS: dict[str, Callable[[ArchiveFile, Limits], Archive]] = {
    ".zip": ZipArchive,
    ".tar": TarArchive,
    ".tar.gz": functools.partial(TarArchive, unpack=GzipUnpacked),
    ".tar.xz": functools.partial(TarArchive, unpack=XzUnpacked),
    ".tar.bz2": functools.partial(TarArchive, unpack=Bz2Unpacked),
    ".tar.zst": functools.partial(TarArchive, unpack=ZstdUnpacked),
    **dict.fromkeys(
        (".7z", ".rar", ".deb", ".cpio", ".iso"), functools.partial(TarArchive, unpack=Converted)
    ),
}
_SHORT = {".tgz": ".tar.gz", ".txz": ".tar.xz", ".tbz2": ".tar.bz2", ".tzst": ".tar.zst"}
SUFFIXES = (*_FORMATS, *_SHORT)
"""How the names of archives end, in upper or lower case."""


_MAGIC = {
    b"PK\3\4": ".zip",
    GzipUnpacked.magic: ".tar.gz",
    XzUnpacked.magic: ".tar.xz",
    Bz2Unpacked.magic: ".tar.bz2",
    ZstdUnpacked.magic: ".tar.zst",
}
"""How archives begin, except tars, which have b"ustar" at 257."""
_HEADER = 512
"""Bytes of a tar's header."""


def is_archive(name: str) -> bool:
    """Whether a file's name says that it is an archive of a format that can be read."""
    return _format(name) is not None


def archive_version(status: os.stat_result) -> str:
    """Return the version of an archive, which is also that of each of its files."""
    return f"{file_version(status)}/{status.st_size}"


def open_archive(name: str, version: str, limits: Limits | None = None) -> Archive:
    """Open the archive ``name`` (absolute, without links) in this version (`archive_version`).
    Raises OSError; ArchiveError if it is not in the format of its suffix."""
    modified, _, size = version.partition("/")
    # Rows of the first release have no size.
    return archive_in(SourceFile(name, int(size) if size else None, modified), name, limits)


def archive_in(file: ArchiveFile, name: str, limits: Limits | None = None) -> Archive:
    """Return the archive in an open file, which is closed with it or after an error. The format is
    that of ``name``, unless the first bytes are of another one: browsers and tools unpack a
    ``.tar.gz`` and leave its name. Raises OSError."""
    try:
        opener = _format(name)
        if opener is None:
            raise SourceChangedError("is no archive")
        start = file.read(_HEADER)
        suffixes = [suffix for magic, suffix in _MAGIC.items() if start.startswith(magic)]
        if start[257:262] == b"ustar":
            opener = _FORMATS[".tar"]
        elif suffixes:
            opener = _FORMATS[suffixes[0]]
        elif formats_of(cast("IO[bytes]", file)):
            opener = _FORMATS[".7z"]
        file.seek(0)
        return opener(file, limits or Limits())
    except BaseException:
        file.close()
        raise


def open_member(name: str, size: int | None, version: str, progress: Progress) -> BinaryIO:
    """Open a file in an archive by its absolute name, with ``size`` bytes, in this version of the
    archive. Raises OSError."""
    outside, _, inside = name.partition(SEPARATOR)
    return member_in(open_archive(outside, version), inside, size, progress)


def member_in(archive: Archive, inside: str, size: int | None, progress: Progress) -> BinaryIO:
    """Open a file in an archive, which is closed with it or after an error, by its path in it.
    Raises OSError."""
    try:
        found = None
        for member in archive.members():
            if member.is_file and inner_path(member.name) == inside:
                found = member  # the last of several is the one that was imported
        if found is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        if found.size != size:
            raise SourceChangedError("has changed")
        return cast("BinaryIO", MemberStream(archive, found, progress, archive.close))
    except BaseException:
        archive.close()
        raise


def _format(name: str) -> Callable[[ArchiveFile, Limits], Archive] | None:
    lower = name.lower()
    suffixes = [suffix for suffix in SUFFIXES if lower.endswith(suffix)]
    return _FORMATS[_SHORT.get(suffixes[0], suffixes[0])] if suffixes else None
