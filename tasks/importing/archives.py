"""An archive as a source. It is listed once, and its files are read without unpacking it."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, cast

from tasks.files.content import path_of, read_file
from tasks.importing.listings import store_listing, stored_listing
from tasks.importing.room import RegionFullError
from tasks.importing.sources import MAX_JOBS, Skipped, SourceError, SourceFileInfo
from tasks.importing.unpacking import EarlyFiles
from tasks.sources.archives.damage import MemberCutError, TooLargeError, UntrustedError
from tasks.sources.archives.formats import SEPARATOR, archive_version, open_archive
from tasks.sources.archives.limits import NAME
from tasks.sources.archives.members import MemberStream, inner_path
from tasks.sources.source_file import SourceChangedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tasks.sources.archives.limits import Limits
    from tasks.sources.archives.members import Archive, Member
    from tasks.sources.progress import Progress

_LONGEST_CHAIN = 40
"""The most links that are followed for one name, as in Linux."""


class ArchiveSource:
    """The files of an archive, and its links to them."""

    default_jobs = 1
    may_fork = True

    def __init__(
        self,
        root: str,
        archive: Archive,
        version: str,
        size: int,
        name_of: Callable[[str], str],
        limits: Limits,
    ) -> None:
        """Take an archive of ``size`` bytes, in this version. ``name_of`` returns the absolute name
        of a path in it."""
        self.root = root
        self._archive = archive
        self.max_jobs = MAX_JOBS if archive.in_any_order else 1
        self._version = version
        self._size = size
        self._limits = limits
        self._name_of = name_of
        self._members: list[Member] | None = None
        self._damage: list[Skipped] = []
        self._process = os.getpid()
        _open_sources[self.root] = self

    def __reduce__(self) -> tuple[Callable[[str], ArchiveSource], tuple[str]]:
        """Stand for itself in a process that is forked from this one."""
        return _inherited, (self.root,)

    def covers(self, path: str) -> bool:
        return True

    def is_to_unpack(self) -> bool:
        """Whether the archive has to be read to its end for a list of its files: not if it has a
        directory, nor if a former run has listed this version, with as many names as allowed."""
        if self._archive.in_any_order:
            return False
        if self._members is None:
            listed = stored_listing(self._name_of(""), self._version)
            if listed is not None and len(listed) <= self._limits.members:
                self._members = listed
        return self._members is None

    @property
    def least(self) -> int:
        """Bytes of its files, at least, about."""
        return self._archive.least

    def unpack(self, store: Callable[[SourceFileInfo], bool]) -> None:
        """Read the archive once: list it, and hand each file to ``store``, which returns whether it
        has read the file.

        What was stored is no part of the source yet. The end of an archive may say that it is
        damaged, or has another file of a name. Then it is taken back.
        """
        early = EarlyFiles(store, self._forget, self._limits, self._size)
        try:
            self._list(early)
        except RegionFullError:
            early.take_back()
            raise
        if not self._damage:
            store_listing(self._name_of(""), self._version, self._members or [])

    def walk(self) -> Iterator[SourceFileInfo | Skipped]:
        """Yield the files of the archive in its order; then the links to them, each as a file
        under another name; then the damage of the archive, if there is any.

        Links to folders are left out, since their files have their own names. If an archive has a
        name twice, the last is taken, as the tools that unpack it do. An archive that ends too
        early gives its whole files. One that changes while it is listed gives nothing, nor does one
        that does not match its checksum: its files have none of their own, so each may be wrong.
        """
        if self._archive.in_any_order or self.is_to_unpack():
            self._list()
        members, self._members = self._members or [], None  # thousands, which are read again
        yield from self._files(members)
        yield from self._damage

    def continue_here(self) -> None:
        """Read on in this process, at a position of its own."""
        if self._process != os.getpid():
            self._archive.reopen()
            self._process = os.getpid()

    def close(self) -> None:
        _open_sources.pop(self.root, None)
        self._archive.close()

    def _list(self, early: EarlyFiles | None = None) -> None:
        """Read the archive to its end, and take its members and its damage down."""
        members: list[Member] = []
        damage: list[Skipped] = []
        try:
            for member in self._archive.members():
                if len(members) == self._limits.members:
                    raise TooLargeError(self._limits.too_many())
                members.append(member)
                if early is not None:
                    self._add(early, member)
            self._archive.verify()
        except OSError as found:
            error = self._change() or found
            damage.append(Skipped("", error.strerror or str(error), hides_files=True))
            if isinstance(error, UntrustedError | SourceChangedError):
                members.clear()
                if early is not None:
                    early.take_back()
            elif isinstance(error, MemberCutError):
                members.pop()
        self._members, self._damage = members, damage

    def _change(self) -> SourceChangedError | None:
        """Return the error for an archive that changes while it is read: the cause of others."""
        try:
            self._archive.verify()
        except SourceChangedError as error:
            return error
        return None

    def _add(self, early: EarlyFiles, member: Member) -> None:
        path = inner_path(member.name)
        if path is not None and not (member.is_folder or _refusal(member, path)):
            early.add(path, self._found(path, path, member) if member.is_file else None)

    def _forget(self, path: str, size: int) -> None:
        read_file.discard(self._name_of(path), size, self._version)

    def _files(self, members: list[Member]) -> Iterator[SourceFileInfo | Skipped]:
        named: dict[str, Member] = {}
        latest = {
            inner_path(member.name): member
            for member in members
            if not (member.is_folder or member.refusal)
        }
        unpacked = 0
        for member in members:
            path = inner_path(member.name)
            if refusal := _refusal(member, path):
                by_nature = member.by_nature or path is None
                yield Skipped(path_of(path or member.name), refusal, by_nature=by_nature)
            elif path is None or member.is_folder or latest[path] is not member:
                continue
            elif too_large := self._limits.refusal(member.size, unpacked, self._size):
                yield Skipped(path_of(path), too_large)
            else:
                unpacked += member.size
                named[path] = member
                if member.is_file:
                    yield self._found(path, path, member)
        folders = {folder for path in named for folder in _folders(path)}
        for path, member in named.items():
            if member.link is not None and (found := self._linked(path, named, folders)):
                yield found

    def _linked(
        self, path: str, named: dict[str, Member], folders: set[str]
    ) -> SourceFileInfo | Skipped | None:
        """Return the target of a link; None for a folder."""
        target = path
        for _ in range(_LONGEST_CHAIN):
            member = named.get(target)
            if member is None:
                reason = os.strerror(errno.ENOENT)
                skipped = Skipped(path_of(path), reason, by_nature=True)
                return None if target in folders else skipped
            if member.link is None:
                return self._found(path, target, member)
            leads_to = inner_path(member.link)
            if leads_to is None:
                return Skipped(path_of(path), "is a link out of the source", by_nature=True)
            target = leads_to
        return Skipped(path_of(path), os.strerror(errno.ELOOP), by_nature=True)

    def _found(self, path: str, inside: str, member: Member) -> SourceFileInfo:
        return SourceFileInfo(
            path_of(path),
            self._name_of(inside),
            member.size,
            self._version,
            MemberOpener(self, member),
            is_checked=True,
        )

    def open(self, member: Member, progress: Progress) -> BinaryIO:
        """Open a file of the archive. Raises OSError."""
        return cast("BinaryIO", MemberStream(self._archive, member, progress))


@dataclass(frozen=True, slots=True)
class MemberOpener:
    """Opens a file of an archive, also in a process that was forked from this one."""

    source: ArchiveSource
    member: Member

    def __call__(self, name: str, size: int | None, version: str, progress: Progress) -> BinaryIO:
        return self.source.open(self.member, progress)


_open_sources: dict[str, ArchiveSource] = {}
"""By their roots."""


def _inherited(root: str) -> ArchiveSource:
    """Return a source that was open when this process was forked."""
    source = _open_sources[root]
    source.continue_here()
    return source


def local_archive(name: str, limits: Limits) -> ArchiveSource:
    """Return the archive ``name`` (absolute, without links) as a source. Raises SourceError if it
    cannot be read."""
    try:
        status = os.stat(name)
        version = archive_version(status)
        archive = open_archive(name, version, limits)
    except OSError as error:
        reason = error.strerror or str(error)
        raise SourceError(f"{path_of(name)!r} cannot be imported: {reason}") from error
    return ArchiveSource(
        path_of(name),
        archive,
        version,
        status.st_size,
        lambda path: f"{name}{SEPARATOR}{path}",
        limits,
    )


def _refusal(member: Member, path: str | None) -> str:
    """Return why a member is refused by its name or kind; empty if it may be imported."""
    if path is None:
        return "would lie outside of the source"
    if member.refusal or member.is_folder:
        return member.refusal
    if not path or "\0" in path or len(os.fsencode(path)) > NAME:
        return "has a name that no file can have"
    return ""


def _folders(path: str) -> Iterator[str]:
    """Yield the folders above a path, including the root, which has no name."""
    while path:
        path = path.rpartition("/")[0]
        yield path
