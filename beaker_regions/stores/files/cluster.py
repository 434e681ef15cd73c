"""Files of several hosts: content in a folder of each host, or in a shared folder, and generations
and leases on memcached or Redis servers that all hosts use.

The folder is as in `beaker_regions.stores.files.store`, with a file ``identity`` in place of the
table of generations, the counters and the locks: hosts would not see each other's, and an NFS
client caches what it has read for seconds. Generations and leases are those of a `ServerStore`,
so its invalidations, its pending invalidations and its time-outs apply here too. A hit costs one
request to one server and one local file. A record has the generations of its load. It is current if
the servers have the same generations now, so it does not matter which host stored it, or how late
the file system shows it. A server that restarts, or evicts generations, costs loads.

A value is loaded once for each folder: the name of a lease contains the folder's identity. So hosts
with folders of their own each load for themselves, and hosts that share a folder wait for one
another. A host that receives content renews its lease while the content arrives.

Small values that are changed by compare-and-set (values, counters) are on the servers, for all
hosts.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from beaker_regions.engine.store import Lease, LookupForUpdate, Store, Stored, attempted
from beaker_regions.entries.content import CachedFile, Resumable, hold
from beaker_regions.entries.entry import Entry, Lookup, address_of
from beaker_regions.entries.records import ADDRESS_SIZE, Codec, Record, Signer
from beaker_regions.errors import StoreUnavailableError
from beaker_regions.runtime.atomic_write import make_folder, reported
from beaker_regions.stores.files.content import Description
from beaker_regions.stores.files.lock_renewal import Held
from beaker_regions.stores.files.record_cache import Read, Version
from beaker_regions.stores.files.store import FileStore
from beaker_regions.stores.folder_identity import identity_of
from beaker_regions.stores.servers.store import ServerStore

_NAME_SIZE = 1 + ADDRESS_SIZE
"""Bytes of a scope's name in a record."""


class ClusterFileStore(FileStore):
    """A region's entries in one folder, and their generations and leases on ``servers``; the
    options are those of `FileStore`."""

    is_shared = True

    def __init__(self, folder: Path, signer: Signer, servers: ServerStore, **options: Any) -> None:
        super().__init__(folder, signer, **options)
        self._servers = servers
        self._held: dict[bytes, Held] = {}
        self.counters = servers.counters

    @property
    def generation_store(self) -> Store:
        return self._servers

    def owner(self) -> str | None:
        return self._servers.owner()

    # -- records ---------------------------------------------------------------------------

    def read(self, entry: Entry) -> Lookup:
        return self._found(entry, self._servers.read(entry))

    def read_uncached(self, entry: Entry) -> Lookup:
        # A shared folder may show an older state: `read_for_load` reads the newest.
        self._forget(entry)
        return self.read(entry)

    def read_many(self, entries: Iterable[Entry]) -> list[Lookup | StoreUnavailableError]:
        entries = list(entries)
        return [
            there
            if isinstance(there, StoreUnavailableError)
            else attempted(self._found, entry, there)
            for entry, there in zip(entries, self._servers.read_many(entries), strict=True)
        ]

    def read_for_load(self, entry: Entry) -> Lookup:
        there = self._servers.read_for_load(entry)
        self._forget(entry)
        self._refresh_folder(entry.address)
        return self._found(entry, there)

    def _found(self, entry: Entry, there: Lookup) -> Lookup:
        """Return the local record, or that of the servers for a value, with the servers'
        generations."""
        here = self._lookup(entry, there.generations)
        if there.record is not None and there.is_current:
            # Both exist only if the region itself was on the servers before.
            newer = here.record is not None and here.record.stored_at > there.record.stored_at
            return here if newer else there
        return here._replace(refused=True) if there.refused and here.record is None else here

    def _refresh_folder(self, address: bytes) -> None:
        """Refresh the client's view of a shared folder, or a caller that has waited would load
        again. An NFS client caches for up to a minute which files exist, but asks its server when a
        folder is opened (nfs(5), "Close-to-open cache consistency"). A GlusterFS client caches for
        a second, or as long as it is configured to, but a listing is always current."""
        _listed(os.path.dirname(self._entry_path(address)), durable=self._durable)

    def _read(self, address: bytes, version: Version | None) -> Read | None:
        try:
            with _replaced_is_missing():
                return super()._read(address, version)
        except FileNotFoundError:
            # While it was open here, another host has put a record in its place.
            self._refresh_folder(address)
        try:
            with _replaced_is_missing():
                return super()._read(address, version)
        except FileNotFoundError:
            return None

    def _scopes(self, scopes: tuple[str, ...]) -> bytes:
        # The names, by which alone the servers know generations.
        return b"".join(map(_packed, scopes))

    def is_current(self, record: Record) -> bool:
        """Whether a record was not invalidated, as far as the servers can say now."""
        if len(record.scopes) != _NAME_SIZE * len(record.generations):
            return False  # of a time when the region had no cluster
        at = range(0, len(record.scopes), _NAME_SIZE)
        scopes = tuple([_unpacked(record.scopes[start : start + _NAME_SIZE]) for start in at])
        try:
            found = self._servers.read(Entry("", bytes(ADDRESS_SIZE), scopes))
        except StoreUnavailableError:
            return True
        return found.generations == record.generations

    def get_for_update(self, entry: Entry) -> LookupForUpdate:
        return self._servers.get_for_update(entry)

    def compare_and_set(
        self, entry: Entry, value: Any, record: Record, ttl: float, seen: LookupForUpdate | None
    ) -> bool:
        return self._servers.compare_and_set(entry, value, record, ttl, seen)

    def value(self, entry: Entry, record: Record) -> Any:
        if record.codec is Codec.PARTS:
            return self._servers.value(entry, record)
        return super().value(entry, record)

    def _content_value(self, entry: Entry, record: Record, described: Description) -> Any:
        try:
            with _replaced_is_missing():
                return _in_hand(super()._content_value(entry, record, described))
        except FileNotFoundError:
            # Content is stored before its record, and removed after it. But the client may remember
            # an earlier state.
            self._refresh_folder(entry.address)
            _listed(os.path.dirname(self.content.path(entry.address, "")), durable=self._durable)
        with _replaced_is_missing():
            return _in_hand(super()._content_value(entry, record, described))

    # -- generations and leases ------------------------------------------------------------

    def invalidate(self, scopes: Iterable[str], during: Callable[[], None] | None = None) -> None:
        self._servers.invalidate(scopes, during)

    def keep_pending(self, scopes: Iterable[str]) -> None:
        self._servers.keep_pending(scopes)

    def acquire(self, entry: Entry, seconds: float, over: bytes = b"") -> Lease:
        shared = self._of_folder(entry)
        lease = self._servers.acquire(shared, seconds, over)
        if lease.mine:
            self._held[entry.address] = Held(self._servers.leases, shared, lease, seconds)
        return lease

    def release(self, entry: Entry, lease: Lease) -> None:
        held = self._held.get(entry.address)
        # One that ran out may have been taken by another thread since.
        if held is not None and held.given is lease:
            del self._held[entry.address]
            self._servers.release(held.entry, held.lease)

    def is_progressing(self, entry: Entry, seconds: float) -> bool:
        return self._servers.leases.is_progressing(self._of_folder(entry))

    def _of_folder(self, entry: Entry) -> Entry:
        """Return the entry as its lease is named: another one in each folder."""
        with reported("lease"):
            return entry._replace(address=address_of(identity_of(self.folder), entry.address))

    def _write_content(
        self,
        entry: Entry,
        codec: Codec,
        chunks: Iterable[bytes] | Resumable,
        record: Record,
        again: Description | None = None,
    ) -> Stored:
        held = self._held.get(entry.address)
        if held is not None:
            chunks = held.renewed_by(chunks)
        stored = super()._write_content(entry, codec, chunks, record, again)
        return stored._replace(value=_in_hand(stored.value))


@contextlib.contextmanager
def _replaced_is_missing() -> Iterator[None]:
    """Raise FileNotFoundError for a file that another host has replaced: its server does not know
    it any more, even if it is open here."""
    try:
        yield
    except OSError as error:
        if error.errno == errno.ESTALE:
            raise FileNotFoundError(errno.ENOENT, str(error)) from error
        raise


def _in_hand(value: Any) -> Any:
    """Return a value that stays readable if another host removes it. Raises OSError if it is
    removed."""
    if isinstance(value, CachedFile) and value.descriptor is not None:
        try:
            hold(value.descriptor)
        except OSError:
            value.close()
            raise
    return value


def _listed(folder: str, *, durable: bool) -> None:
    """List a folder; make it if it is missing. A client that remembers that there is none then asks
    its server. An error is left to the next use of the folder."""
    with contextlib.suppress(OSError):
        try:
            os.listdir(folder)
        except FileNotFoundError:
            make_folder(folder, durable=durable)
            os.listdir(folder)


def _packed(scope: str) -> bytes:
    return scope[0].encode() + bytes.fromhex(scope[1:])


def _unpacked(name: bytes) -> str:
    return chr(name[0]) + name[1:].hex()
