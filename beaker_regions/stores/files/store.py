"""Entries as files: one record an entry, and beside it, for large content, one raw file.

The module `layout` says which files a store's folder has. A file is written under ``incoming`` and
renamed into place, so a reader finds a whole file or none. A record is checked as a whole at every
read, so it is synced only if content depends on it. A record contains the slots of its generations
in the table. So maintenance, which does not know the functions, can tell whether an entry was
invalidated.
"""

from __future__ import annotations

import contextlib
import functools
import os
import struct
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from beaker_regions.engine.store import (
    GoneError,
    Lease,
    LookupForUpdate,
    Store,
    Stored,
    attempted,
    dump,
    opened,
)
from beaker_regions.entries.content import (
    CachedFile,
    Resumable,
    SmallCachedFile,
    content_chunks,
    is_content,
)
from beaker_regions.entries.entry import Entry, Lookup
from beaker_regions.entries.known import KnownAnswers
from beaker_regions.entries.records import Codec, Record, Signer
from beaker_regions.errors import StoreUnavailableError
from beaker_regions.runtime.atomic_write import read_file, reported, write_file
from beaker_regions.runtime.flock import locked
from beaker_regions.runtime.interruptions import is_interruption
from beaker_regions.stores.files.content import ContentFiles, Description, room_of
from beaker_regions.stores.files.counters import FileCounters
from beaker_regions.stores.files.eviction import DEFAULT, SizeLimit
from beaker_regions.stores.files.generations import GenerationTable, places
from beaker_regions.stores.files.layout import discard
from beaker_regions.stores.files.locks import FileLeases
from beaker_regions.stores.files.record_cache import (
    Read,
    RecordCache,
    Version,
    read_if_changed,
    settled_version_of,
)
from beaker_regions.stores.files.together import FilesTogether, joined
from beaker_regions.stores.folder_identity import identity_of
from beaker_regions.stores.pending import PendingInvalidations

LARGE = 64 * 1024
"""Bytes. Bytes and texts of at least this size are stored as content: a hit costs reading it."""


class FileStore(Store):
    """A region's entries in one folder, shared by all threads and processes of a host.

    ``size_limit``: bytes; None: there is no limit. ``durable``: content (streamed, or bytes and
    texts of at least `LARGE` bytes) is synced to disk with its record, because it is costly to load
    again. Other values are not synced: they are cheap to load, and a torn record is detected.
    Without ``durable`` nothing is synced, and content is used until the machine restarts.
    ``verify_reads``: the digest of content is checked whenever it is opened.
    """

    folder: Path

    is_shared = False
    OPTIONS = ("size_limit", "durable", "verify_reads")

    def __init__(
        self,
        folder: Path,
        signer: Signer,
        *,
        size_limit: int | None = DEFAULT,
        durable: bool = True,
        verify_reads: bool = False,
    ) -> None:
        self.folder = folder
        self.size_limit = None if size_limit is None else SizeLimit(self, size_limit)
        self.content = ContentFiles(folder, durable=durable, verify_reads=verify_reads)
        self._durable = durable
        self.signer = signer
        self._entries = str(folder / "entries")
        self._incoming = str(folder / "incoming")
        self._generations = GenerationTable(folder / "generations")
        self._leases = FileLeases(folder / "leases")
        self._identity: str | None = None
        self._pending = PendingInvalidations()
        self._record_cache = RecordCache()
        self._known = KnownAnswers()
        self.counters = FileCounters(folder / "counters")

    def owner(self) -> str | None:
        try:
            self._identity = identity_of(self.folder).hex()
        except OSError:
            if self._identity is None:
                raise
        return self._identity

    # -- records ---------------------------------------------------------------------------

    def read(self, entry: Entry) -> Lookup:
        return self._lookup(entry, self._current(entry, self._generations.read))

    def read_many(self, entries: Iterable[Entry]) -> list[Lookup | StoreUnavailableError]:
        entries = list(entries)
        try:
            with reported("read"):
                self._pending.apply(self._generations.change)
                found = self._generations.read_many([places(entry.scopes) for entry in entries])
        except StoreUnavailableError as error:
            return [error] * len(entries)
        return [attempted(self._lookup, *each) for each in zip(entries, found, strict=True)]

    def read_uncached(self, entry: Entry) -> Lookup:
        self._forget(entry)
        return self._lookup(entry, self._current(entry, self._generations.read_uncached))

    def read_for_load(self, entry: Entry) -> Lookup:
        # The table has a generation for every scope: there is none to be made.
        self._forget(entry)
        return self._lookup(entry, self._current(entry, self._generations.read_settled))

    def _forget(self, entry: Entry) -> None:
        """Let the next read open the entry's file."""
        self._record_cache.forget(entry.address)
        if known := self._known.find(entry):
            known.version = None

    def _current(
        self, entry: Entry, read: Callable[[tuple[int, ...]], tuple[bytes | None, ...]]
    ) -> tuple[bytes | None, ...]:
        try:  # without the cost of a block: this is every hit
            if self._pending.has_any():
                self._pending.apply(self._generations.change)
            return read(places(entry.scopes))
        except OSError as error:
            if is_interruption(error):
                raise
            raise StoreUnavailableError("read", str(error)) from error

    def _lookup(self, entry: Entry, generations: tuple[bytes | None, ...]) -> Lookup:
        """Return an entry's record beside the current generations."""
        record = self._record_cache.get(entry.address, generations)
        if record is not None:
            return Lookup(record, generations)
        if (known := self._known.find(entry)) and known.generations != generations:
            known = None
        cached = self._record_cache.find(entry.address)
        version = cached and cached.version if known is None else known.version
        try:
            read = self._read(entry.address, version)
        except OSError as error:
            if is_interruption(error):
                raise
            raise StoreUnavailableError("read", str(error)) from error
        if read is None:
            return Lookup(None, generations)
        stored, file = read
        if known is not None and (stored is None or stored == known.sealed):
            known.repeat()
            known.version = version if stored is None else settled_version_of(file)
            return known
        if stored is None:
            assert cached is not None
            self._record_cache.keep(entry.address, file, cached.record)
            return Lookup(cached.record, generations)
        lookup = opened(self.signer, entry, stored, generations)
        if (record := lookup.record) is None:
            return lookup
        if record.codec is Codec.FILE:
            self._record_cache.keep(entry.address, file, record)
        elif lookup.is_current:
            small = record.codec is Codec.CONTENT
            load = functools.partial(self.value, entry, record) if small else None
            self._known.keep(lookup, entry, stored, load)
        return lookup

    def _read(self, address: bytes, version: Version | None) -> Read | None:
        """Return an entry's stored record, as `read_if_changed`."""
        path = self._entry_path(address)
        if (read := read_if_changed(path, version)) and self.size_limit is not None:
            self.size_limit.used(path, read[1])
        return read

    def _scopes(self, scopes: tuple[str, ...]) -> bytes:
        """Return the table slots of ``scopes``, as a record keeps them for `is_current`."""
        return struct.pack(f"<{len(scopes)}I", *places(scopes))

    def is_current(self, record: Record) -> bool:
        """Return False if a record was invalidated. Returns True if the table of generations cannot
        be read: a full disk may have none, and must still be cleared."""
        count = len(record.generations)
        if len(record.scopes) != 4 * count:
            return False  # stored when the region had a cluster
        found = struct.unpack(f"<{count}I", record.scopes)
        try:
            return self._generations.read_uncached(found) == record.generations
        except OSError:
            return True

    def write(self, entry: Entry, value: Any, record: Record, ttl: float) -> Stored:
        if is_content(value):
            content = value if isinstance(value, Resumable) else content_chunks(value)
            again = None
            if isinstance(value, CachedFile) and value.stored and not value.in_memory:
                again = self.content.store_again(entry.address, value, together=bool(joined(self)))
            return self._write_content(entry, Codec.FILE, content, record, again)
        codec, payload = dump(value)
        if codec is not Codec.PICKLE and len(payload) >= LARGE:
            stored = self._write_content(entry, codec, [payload], record)
            return stored._replace(value=value)
        record = record.with_payload(codec, payload)
        self._replace(entry, record, None)
        return Stored(value, record.load_seconds)

    def _write_content(
        self,
        entry: Entry,
        codec: Codec,
        chunks: Iterable[bytes] | Resumable,
        record: Record,
        again: Description | None = None,
    ) -> Stored:
        """Store content that comes in chunks, or that is stored already: ``again``."""
        together = joined(self) is not None
        content = again or self.content.store(entry.address, codec, chunks, together=together)
        record = record.with_payload(*content.pack())
        value = None
        try:
            with reported("write"):
                if codec is Codec.FILE:
                    # Open it before eviction can remove it.
                    value = self._content_value(entry, record, content)
            self._replace(entry, record, content)
        except StoreUnavailableError:
            self.content.remove(entry.address, content)
            raise
        return Stored(value, record.load_seconds)

    def _replace(self, entry: Entry, record: Record, content: Description | None) -> None:
        """Publish a record and its content in place of the entry's former ones."""
        path = self._entry_path(entry.address)
        former, freed = None, 0
        with reported("write"), contextlib.suppress(FileNotFoundError):
            freed = room_of(os.stat(path).st_size)
            former = Description.of(self._lookup(entry, ()).record)
        record = record._replace(scopes=self._scopes(entry.scopes))
        sealed = self.signer.seal(entry.address, record)
        durable = self._durable and content is not None and joined(self) is None
        with reported("write"):
            write_file(self._incoming, path, sealed, durable=durable)
        self._record_cache.forget(entry.address)
        if former is not None:
            freed += self.content.remove(entry.address, former)
        added = 0 if content is None or content.shared else content.room
        self._grew(room_of(len(sealed)) + added - freed)

    def _grew(self, size: int) -> None:
        """Count bytes that were stored, now or with the batch that the running code has joined."""
        if (batch := joined(self)) is not None:
            batch.grew(size)
        elif self.size_limit is not None:
            self.size_limit.grew(size)

    def discard(self, entry: Entry) -> None:
        self._forget(entry)
        with reported("write"):
            self._grew(-discard(self, self._entry_path(entry.address)))

    def together(self) -> FilesTogether:
        return FilesTogether(self, self.folder, self.size_limit, durable=self._durable)

    def _entry_path(self, address: bytes) -> str:
        name = address.hex()
        return f"{self._entries}/{name[:2]}/{name[2:]}"

    def get_for_update(self, entry: Entry) -> LookupForUpdate:
        # Read the bytes first: `compare_and_set` then notices every later change.
        sealed = self._sealed(entry)
        return LookupForUpdate(self.read_for_load(entry), sealed)

    def compare_and_set(
        self, entry: Entry, value: Any, record: Record, ttl: float, seen: LookupForUpdate | None
    ) -> bool:
        # No two records have the same bytes: each has its time, and is sealed.
        with contextlib.ExitStack() as lock:
            with reported("write"):
                lock.enter_context(locked(f"{self.folder}/locks/{entry.address.hex()[:2]}"))
            if seen is not None and self._sealed(entry) != seen.token:
                return False
            # Not in `reported`: an OSError while the value is pickled is the application's.
            self.write(entry, value, record, ttl)
        return True

    def _sealed(self, entry: Entry) -> bytes | None:
        with reported("read"), contextlib.suppress(FileNotFoundError):
            return read_file(Path(self._entry_path(entry.address)))
        return None

    # -- content ---------------------------------------------------------------------------

    def value(self, entry: Entry, record: Record) -> Any:
        described = Description.of(record)
        if described is None:
            return super().value(entry, record)
        if described.small is not None:
            self.content.verify(entry.address, described)
        try:
            return self._content_value(entry, record, described)
        except FileNotFoundError as error:
            self._record_cache.forget(entry.address)
            if self._lookup(entry, record.generations).record == record:
                raise
            raise GoneError from error

    def digest(self, entry: Entry, record: Record) -> str:
        described = Description.of(record)
        if described is None:
            raise GoneError
        try:
            self.content.check(entry.address, described)
        except OSError as error:
            self._record_cache.forget(entry.address)
            raise GoneError from error
        return described.digest.hex()

    def _content_value(self, entry: Entry, record: Record, described: Description) -> Any:
        if described.codec is Codec.BYTES:
            return self.content.read(entry.address, described)
        if described.codec is Codec.TEXT:
            payload = self.content.read(entry.address, described)
            return super().value(entry, record._replace(codec=described.codec, payload=payload))
        path, digest = self.content.path(entry.address, described.name), described.digest.hex()
        if described.small is None:
            descriptor = self.content.open(entry.address, described)
            return CachedFile(
                path, descriptor, record.stored_at, size=described.size, digest=digest
            )
        return SmallCachedFile(path, described.small, record.stored_at, digest, self._copied)

    def _copied(self, path: str, content: bytes) -> None:
        """Write small content to a file, for code that needs a path. Raises OSError."""
        with contextlib.suppress(FileNotFoundError):
            if read_file(Path(path)) == content:
                return
        write_file(self._incoming, path, content, durable=False)
        self._grew(room_of(len(content)))

    # -- generations and leases ------------------------------------------------------------

    def invalidate(self, scopes: Iterable[str], during: Callable[[], None] | None = None) -> None:
        try:
            with reported("invalidate"):
                self._generations.change(scopes, during)
        except StoreUnavailableError:
            self._pending.keep(scopes)
            raise

    def keep_pending(self, scopes: Iterable[str]) -> None:
        self._pending.keep(scopes)
        # Apply it now: other processes do not know of it, and a disk takes it at once.
        with contextlib.suppress(OSError):
            self._pending.apply(self._generations.change)

    def acquire(self, entry: Entry, seconds: float, over: bytes = b"") -> Lease:
        with reported("lease"):
            return self._leases.acquire(entry.address, over)

    def is_progressing(self, entry: Entry, seconds: float) -> bool:
        with reported("lease"):
            return self.content.is_progressing(entry.address, seconds)

    def parts(self) -> frozenset[bytes]:
        return self.content.parts()

    def release(self, entry: Entry, lease: Lease) -> None:
        with reported("lease"):
            self._leases.release(lease)
