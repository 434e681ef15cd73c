"""Maintenance of a region's files: usage, verification, and removal of files that are not needed.

All of it may run while other processes read and write. A removed entry is a miss for them.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
import os
import time
from collections.abc import Iterator
from typing import NamedTuple

from beaker_regions.runtime.atomic_write import open_plain
from beaker_regions.stores.files.layout import (
    Stored,
    files_in,
    records,
    remove,
    shards,
    stored,
    stored_at,
)
from beaker_regions.stores.files.store import FileStore

LEFT_ALONE = 60 * 60
"""Seconds. Files changed since then are not touched: their writer may be about to use them."""


class Usage(NamedTuple):
    """Number and size of a region's entries."""

    entries: int
    size: int
    """Bytes on the disk, equal content counted once."""
    oldest: float | None
    """When the oldest record was stored, in seconds since the epoch."""


class Swept(NamedTuple):
    """Numbers of removed files."""

    entries: int
    leftovers: int
    """Files that no entry needs."""


def written_to(store: FileStore) -> Iterator[str]:
    """Yield the paths that every process that uses a store must be able to write to: its folders,
    and the files that are written in place."""
    if store.folder.is_dir():
        yield str(store.folder)
        with os.scandir(store.folder) as found:
            for each in found:
                yield each.path
                if each.is_dir(follow_symlinks=False):
                    with os.scandir(each) as inside:
                        in_place = each.name in ("counters", "locks")
                        yield from (
                            one.path
                            for one in inside
                            if in_place or one.is_dir(follow_symlinks=False)
                        )


def number_of_entries(store: FileStore, seconds: float) -> tuple[int, bool]:
    """Count a store's entries, without reading them. If that takes longer than ``seconds``, return
    an estimate from some of the folders: a hash spreads the entries over them. Returns the number,
    and whether it is exact."""
    ends = time.monotonic() + seconds
    folders = sorted(shards(store))
    found = 0
    for done, folder in enumerate(folders, start=1):
        found += len(records(folder))
        if done < len(folders) and time.monotonic() > ends:
            return round(found * len(folders) / done), False
    return found, True


def usage(store: FileStore, seconds: float = math.inf) -> Usage:
    """Count a store's entries and bytes. Raises TimeoutError if that takes longer than
    ``seconds``."""
    ends = time.monotonic() + seconds
    entries = size = 0
    oldest: float | None = None
    counted = set()
    for found in stored(store):
        if time.monotonic() > ends:
            raise TimeoutError(f"{store.folder} holds more than can be counted in {seconds:g} s")
        entries += 1
        size += found.size
        if found.content is not None and found.content.small is None:
            if found.content.digest in counted:
                size -= found.content.room
            counted.add(found.content.digest)
        if found.record is not None:
            oldest = min(oldest or found.record.stored_at, found.record.stored_at)
    return Usage(entries, size, oldest)


def verify(store: FileStore) -> Iterator[tuple[str, str]]:
    """Check every record and the digest of every content; take out, and yield with the reason,
    what is not what was stored: paths and reasons."""
    digests: dict[int, str] = {}
    for found in stored(store):
        reason = _fault(store, found, digests)
        if reason is not None:
            remove(store, found)
            yield found.path, reason
    for named in files_in(store.folder / "equal"):
        shard, _, name = named.path.rpartition("/")
        if named.is_symlink():
            os.unlink(named.path)
            yield named.path, "it is a symbolic link"
            continue
        with (
            contextlib.suppress(FileNotFoundError),
            open(named.path, "rb", opener=open_plain) as file,
        ):
            known = digests.get(os.fstat(file.fileno()).st_ino)
            if shard[-2:] + name != (known or hashlib.file_digest(file, "sha256").hexdigest()):
                os.unlink(named.path)
                yield named.path, "it has not the digest that it is found by"
    if store.size_limit is not None and store.size_limit.is_damaged():
        store.size_limit.recount()
        yield str(store.size_limit.counter), "the count of the bytes in use is damaged"


def _fault(store: FileStore, found: Stored, digests: dict[int, str]) -> str | None:
    if found.record is None:
        return "the record is damaged, or of another secret"
    content = found.content
    if content is None or content.outlived:
        return None
    try:
        store.content.verify(found.address, content)
    except OSError as error:
        # Replaced or invalidated since the record was read: that is no fault. A client of a
        # network's file system may remember the former record until it lists the folder.
        records(os.path.dirname(found.path))
        again = stored_at(store, found.path)
        if again is None or again.record != found.record:
            return None
        return f"the content cannot be used: {error}"
    digests[content.inode] = content.digest.hex()
    return None


def clear(store: FileStore) -> int:
    """Take every entry out; return how many there were."""
    entries = 0
    for entries, found in enumerate(stored(store), start=1):  # noqa: B007
        remove(store, found)
    return entries


def sweep_shard(store: FileStore, shard: str, grace: float = 0.0) -> tuple[list[int], set[str]]:
    """As `sweep`, for the entries in one folder; return the bytes that each of those removed has
    freed, and the names of the contents that the others need."""
    now = time.time()
    freed = []
    needed = set()
    for path in records(shard):
        found = stored_at(store, path)
        if found is None:
            continue
        if found.is_over(now, grace):
            freed.append(remove(store, found))
        elif found.content is not None:
            needed.add(found.content.name)
    return freed, needed


def sweep(store: FileStore, grace: float = 0.0) -> Swept:
    """Remove what was invalidated or has expired, ``grace`` seconds ago or longer, and the files
    that killed processes have left behind."""
    now = time.time()
    entries = 0
    needed = set()
    for shard in shards(store):
        over, kept = sweep_shard(store, shard, grace)
        entries += len(over)
        needed |= kept
    leftovers = 0
    for folder in ("incoming", "content"):
        for file in files_in(store.folder / folder):
            if file.name not in needed and now - _changed(file) > LEFT_ALONE:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(file.path)
                    leftovers += 1
    for file in files_in(store.folder / "equal"):
        if now - _changed(file) > LEFT_ALONE:
            leftovers += store.content.forget_unused(file.path)
    if store.size_limit is not None:
        store.size_limit.recount()
    return Swept(entries, leftovers)


def _changed(file: os.DirEntry[str]) -> float:
    """Return when a file changed, or its names: a new name of old content is new."""
    with contextlib.suppress(FileNotFoundError):
        return file.stat(follow_symlinks=False).st_ctime
    return time.time()
