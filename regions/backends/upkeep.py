"""Looking after the files of a region: what there is, what is wrong, what nobody needs.

All of it may run while other processes read and write. What it removes is a miss for them.
"""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from regions.backends.content_files import Description, has_digest
from regions.records import Codec, Record, RecordRefused

if TYPE_CHECKING:
    from collections.abc import Iterator

    from regions.backends.files import FileStore

LEFT_ALONE = 60 * 60
"""Seconds; what changed since then may be about to be used by who is writing it."""


class Stored(NamedTuple):
    """One entry's files."""

    path: Path
    """The record's."""
    address: bytes
    size: int
    """Bytes of the record, and of its content."""
    last_use: float
    """Seconds since the epoch; noted now and then, where a region has a limit."""
    record: Record | None
    """None: it is no record of this application."""
    content: Description | None


class Usage(NamedTuple):
    """What a region's files come to."""

    entries: int
    size: int
    """Bytes, equal content counted once."""
    oldest: float | None
    """When the oldest record was stored, in seconds since the epoch."""


class Swept(NamedTuple):
    """What was removed."""

    entries: int
    leftovers: int
    """Files that no entry needs."""


def shards(store: FileStore) -> list[Path]:
    """Return the folders of a store's entries, 256 at the most, in no order."""
    try:
        return list((store.folder / "entries").iterdir())
    except FileNotFoundError:
        return []


def stored(store: FileStore) -> Iterator[Stored]:
    """Yield every entry of a store."""
    for shard in shards(store):
        yield from stored_in(store, shard)


def stored_in(store: FileStore, shard: Path) -> Iterator[Stored]:
    """Yield the entries in one folder of entries."""
    for path in shard.iterdir():
        try:
            address = bytes.fromhex(shard.name + path.name)
        except ValueError:
            continue  # nothing of ours
        try:
            with open(path, "rb") as file:
                sealed, last_use = file.read(), os.fstat(file.fileno()).st_mtime
        except FileNotFoundError:
            continue
        try:
            record = store.unseal(address, sealed)
        except RecordRefused:
            yield Stored(path, address, len(sealed), last_use, None, None)
            continue
        content = Description.unpack(record.payload) if record.codec is Codec.FILE else None
        size = len(sealed) + (content.size if content else 0)
        yield Stored(path, address, size, last_use, record, content)


def usage(store: FileStore) -> Usage:
    """Count a store's entries and bytes."""
    entries = size = 0
    oldest: float | None = None
    counted = set()
    for found in stored(store):
        entries += 1
        size += found.size
        if found.content is not None:
            if found.content.digest in counted:
                size -= found.content.size
            counted.add(found.content.digest)
        if found.record is not None:
            oldest = min(oldest or found.record.stored_at, found.record.stored_at)
    return Usage(entries, size, oldest)


def verify(store: FileStore) -> Iterator[tuple[Stored, str]]:
    """Check every record and the digest of every content; take out, and yield with the reason,
    what is not what was stored."""
    for found in stored(store):
        reason = _fault(store, found)
        if reason is not None:
            remove(store, found)
            yield found, reason


def _fault(store: FileStore, found: Stored) -> str | None:
    if found.record is None:
        return "the record is damaged, or of another secret"
    if found.content is None:
        return None
    try:
        os.close(store.content.open(found.address, found.content))
        path = store.content.path(found.address, found.content.name)
        return None if has_digest(path, found.content.digest) else "the content has changed"
    except OSError as error:
        # Replaced or invalidated since the record was read: that is no fault.
        return f"the content cannot be used: {error}" if found.path.exists() else None


def remove(store: FileStore, found: Stored) -> int:
    """Take an entry out: it is a miss from here on. Returns the bytes that are free now."""
    try:
        found.path.unlink()
    except FileNotFoundError:
        return 0  # somebody else took it out
    freed = found.size
    if found.content is not None and not store.content.remove(found.address, found.content):
        freed -= found.content.size
    return freed


def clear(store: FileStore) -> int:
    """Take every entry out; return how many there were."""
    entries = 0
    for entries, found in enumerate(stored(store), start=1):  # noqa: B007
        remove(store, found)
    return entries


def sweep(store: FileStore, grace: float = 0.0) -> Swept:
    """Remove what has expired, ``grace`` seconds ago or longer, and the files that killed
    processes have left behind."""
    now = time.time()
    entries = 0
    needed = set()
    for found in stored(store):
        if found.record is None or now >= found.record.stored_at + found.record.expire + grace:
            remove(store, found)
            entries += 1
        elif found.content is not None:
            needed.add(found.content.name)
    leftovers = 0
    for folder in ("incoming", "content"):
        for path in _files(store.folder / folder):
            # Its change, not its modification: a new name of old content is new.
            if path.name not in needed and now - _changed(path) > LEFT_ALONE:
                path.unlink(missing_ok=True)
                leftovers += 1
    for path in _files(store.folder / "equal"):
        if now - _changed(path) > LEFT_ALONE:
            leftovers += store.content.forget_unused(str(path))
    if store.size_limit is not None:
        store.size_limit.recount()
    return Swept(entries, leftovers)


def _files(folder: Path) -> Iterator[Path]:
    """Yield the files in a folder and the folders in it, in no order."""
    for parent, _, names in os.walk(folder):
        for name in names:
            yield Path(parent, name)


def _changed(path: Path) -> float:
    with contextlib.suppress(FileNotFoundError):
        return path.stat().st_ctime
    return time.time()
