"""The files of a region's entries: their paths and what each of them contains.

Layout of a store's folder::

    generations             the current generations (module `generations`)
    generations.mark        when that file was changed last
    identity                a random number that identifies the folder (`folder_identity`)
    leases                  one lease for each entry that is being loaded (`locks`)
    entries/ab/cdef…        sealed records; two levels, so that no folder grows too large
    content/ab/cdef…-12ab   raw content of an entry, if it is not in the record (`content`)
    equal/ab/cdef…          second names of the same files, by the digest of their content
    incoming/               files that are being written (`incoming`)
    counters/ab             numbers (`counters`)
    locks/ab                locks for compare-and-set of a record
    usage                   bytes in use (`eviction`)
    swept                   the folder that was swept last (`sweeping`)
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, Protocol

from beaker_regions.entries.records import AHEAD, Record, RecordRefusedError, Signer
from beaker_regions.runtime.atomic_write import make_folder, open_plain, read_file
from beaker_regions.stores.files.content import ContentFiles, Description, room_of


class Stored(NamedTuple):
    """One entry's files."""

    path: str
    """The record's."""
    sealed: bytes
    """The record's bytes. No two records have the same, and a new file may have the inode of one
    that was removed."""
    address: bytes
    size: int
    """Bytes that the record and its content take on the disk."""
    last_use: float
    """Seconds since the epoch; updated now and then, if a region has a limit."""
    record: Record | None
    """None: the file is no record of this application."""
    content: Description | None
    invalidated: bool
    """Whether its generations are no longer current."""

    def is_over(self, now: float, grace: float = 0.0) -> bool:
        """Return whether the entry can never be served again, also not within ``grace`` seconds
        after its expiry."""
        return (
            self.record is None
            or self.invalidated
            or now >= self.record.stored_at + self.record.expire + grace
            or self.record.stored_at > now + AHEAD
            or (self.content is not None and self.content.outlived)
        )


class Files(Protocol):
    """The parts of a store that this module uses."""

    @property
    def folder(self) -> Path:
        """The region's."""

    @property
    def content(self) -> ContentFiles:
        """The content of entries."""

    @property
    def signer(self) -> Signer:
        """Opens the records."""

    def is_current(self, record: Record) -> bool:
        """Whether a read can match a record."""


def shards(store: Files) -> list[str]:
    """Return the folders of a store's entries, 256 at the most, in no order."""
    with contextlib.suppress(FileNotFoundError), os.scandir(store.folder / "entries") as folders:
        return [folder.path for folder in folders]
    return []


def records(shard: str) -> list[str]:
    """Return the paths of the records in one folder of entries, in no order."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError), os.scandir(shard) as files:
        return [file.path for file in files]
    return []


def stored(store: Files) -> Iterator[Stored]:
    """Yield every entry of a store."""
    for shard in shards(store):
        for path in records(shard):
            found = stored_at(store, path)
            if found is not None:
                yield found


def stored_at(store: Files, path: str) -> Stored | None:
    """Return the entry whose record is at ``path``; None: it is gone, or no such record."""
    shard, _, name = path.rpartition("/")
    try:
        address = bytes.fromhex(shard[-2:] + name)
        descriptor = open_plain(path, os.O_RDONLY)
    except (ValueError, FileNotFoundError):
        return None
    try:
        file = os.fstat(descriptor)
        stored = os.read(descriptor, file.st_size)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ESTALE):
            return None  # replaced since it was opened, by another host
        raise
    finally:
        # A network's file system may fail once more for a file that is gone.
        with contextlib.suppress(OSError):
            os.close(descriptor)
    size = room_of(len(stored))
    try:
        record = store.signer.open(address, stored)
    except RecordRefusedError:
        return Stored(path, stored, address, size, file.st_mtime, None, None, False)
    content = Description.of(record)
    size += content.room if content else 0
    invalidated = not store.is_current(record)
    return Stored(path, stored, address, size, file.st_mtime, record, content, invalidated)


def remove(store: Files, found: Stored) -> int:
    """Take an entry out: it is a miss from here on. Returns the bytes that are free now: 0 if the
    entry was stored again, or removed, since it was found."""
    if not _take_out(store, found):
        return 0
    if found.content is None:
        return found.size
    freed = store.content.remove(found.address, found.content)
    return found.size - found.content.room + freed


def discard(store: Files, path: str) -> int:
    """Take out the entry whose record is at ``path``; return the bytes that are free now."""
    found = stored_at(store, path)
    return 0 if found is None else remove(store, found)


def _take_out(store: Files, found: Stored) -> bool:
    """Remove a record if it is still the one that was found; return whether it was.

    No system call removes a file only if it is a given one. So the record is moved aside, and a
    record that took its place at the last moment gets its name back.
    """
    incoming = f"{store.folder}/incoming"
    aside = f"{incoming}/{os.urandom(16).hex()}"
    make_folder(incoming, durable=False)
    try:
        if read_file(Path(found.path)) != found.sealed:
            return False
        os.rename(found.path, aside)
    except FileNotFoundError:
        return False
    try:
        if read_file(Path(aside)) == found.sealed:
            return True
        # A still later record may be there. A file system without hard links costs one load.
        with contextlib.suppress(OSError):
            os.link(aside, found.path)
        return False
    finally:
        os.unlink(aside)


def bytes_in_use(store: Files) -> int:
    """Return the bytes that the files of entries take on the disk. Invalidated entries count, too:
    no record is read."""
    size = 0
    counted = set()
    for folder in ("entries", "content"):
        for file in files_in(store.folder / folder):
            with contextlib.suppress(FileNotFoundError):
                found = file.stat(follow_symlinks=False)
                if found.st_nlink == 1 or found.st_ino not in counted:
                    size += room_of(found.st_size)
                    counted.add(found.st_ino)
    return size


def files_in(folder: str | Path) -> Iterator[os.DirEntry[str]]:
    """Yield the files in a folder and the folders in it, in no order."""
    try:
        with os.scandir(folder) as entries:
            found = list(entries)
    except (FileNotFoundError, NotADirectoryError):
        return
    for each in found:
        if each.is_dir(follow_symlinks=False):
            yield from files_in(each.path)
        else:
            yield each
