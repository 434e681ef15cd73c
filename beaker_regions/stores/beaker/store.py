"""Entries in any other type that Beaker knows, through its own NamespaceManager.

The promises depend on the backend. An invalidation is kept if the backend reads and writes one key
atomically. One load at a time holds only within a process.
"""

from __future__ import annotations

import contextlib
import math
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import beaker.cache
from beaker.ext.sqla import SqlaNamespaceManager

from beaker_regions.engine.store import (
    EVERYBODY,
    MOST_LEVEL,
    Lease,
    Store,
    Stored,
    dump,
    opened,
    refuse_content,
)
from beaker_regions.entries.entry import Entry, Lookup, address_of
from beaker_regions.entries.records import GENERATION_SIZE, TURN_SIZE, Record, Signer
from beaker_regions.errors import RowFullError, StoreUnavailableError
from beaker_regions.runtime import forking
from beaker_regions.runtime.atomic_write import reported
from beaker_regions.runtime.interruptions import is_interruption
from beaker_regions.stores.beaker.database_row import Row
from beaker_regions.stores.folder_identity import identity_of
from beaker_regions.stores.pending import FOLDER, PendingInvalidations, PersistentQueue


class BeakerStore(Store):
    """A region's entries in one namespace of a stock backend."""

    def __init__(
        self, type_: str, namespace: str, options: Mapping[str, Any], signer: Signer
    ) -> None:
        self._pending = PendingInvalidations()
        if folder := options.get("data_dir"):
            place = _place(type_, namespace, options)
            self._pending = PersistentQueue(Path(folder, FOLDER, place))
        self.is_shared = type_.startswith("ext:")
        manager = beaker.cache.clsmap[type_]
        self._space: Row | _Locked
        if issubclass(manager, SqlaNamespaceManager):
            self._space = Row(manager, namespace, options)
        else:
            self._space = _Locked(manager(namespace, **options))
        self._is_memory = type_ == "memory"
        self._folder = Path(folder, FOLDER) if folder else None
        self.signer = signer
        self._leases: dict[bytes, Lease] = {}
        self.after_fork()
        forking.register(self)

    def after_fork(self) -> None:
        self._lock = threading.Lock()

    def owner(self) -> str | None:
        if self.is_shared:
            return EVERYBODY
        if self._is_memory or self._folder is None:
            return None
        with reported("read"):
            return identity_of(self._folder).hex()

    def cover(self, scope: str) -> None:
        self._pending.cover(scope)

    def read(self, entry: Entry) -> Lookup:
        self._pending.apply(self._change)
        with self._reading() as namespace:
            generations = tuple([_get(namespace, scope) for scope in entry.scopes])
            sealed = _get(namespace, entry.address.hex())
        return opened(self.signer, entry, sealed, generations)

    def read_for_load(self, entry: Entry) -> Lookup:
        lookup = self.read(entry)
        missing = [s for s, g in zip(entry.scopes, lookup.generations, strict=True) if g is None]
        if not missing:
            return lookup
        self._change(missing)
        return self.read(entry)

    def write(self, entry: Entry, value: Any, record: Record, ttl: float) -> Stored:
        refuse_content(value)
        record = record.with_payload(*dump(value))
        sealed = self.signer.seal(entry.address, record)
        with self._writing() as namespace:
            expires = None if math.isinf(ttl) else math.ceil(ttl)
            namespace.set_value(entry.address.hex(), sealed, expiretime=expires)
        return Stored(value, record.load_seconds)

    def invalidate(self, scopes: Iterable[str], during: Callable[[], None] | None = None) -> None:
        pending = tuple(scopes)
        try:
            self._change(pending)
            if during is not None:
                # A value loaded during this may have been stored, so invalidate again.
                during()
                self._change(pending)
        except StoreUnavailableError:
            self._pending.keep(pending)
            raise

    def keep_pending(self, scopes: Iterable[str]) -> None:
        self._pending.keep(scopes)

    def _change(self, scopes: Iterable[str]) -> None:
        try:
            with self._writing() as namespace:
                for scope in scopes:
                    namespace[scope] = os.urandom(GENERATION_SIZE)
        except RowFullError:
            # A record without a generation is not current, so an empty namespace invalidates more
            # than was asked, and has room again.
            with self._writing(replace=True):
                pass

    def acquire(self, entry: Entry, seconds: float, over: bytes = b"") -> Lease:
        now = time.monotonic()
        with self._lock:
            level, found = 0, self._leases.get(entry.address)
            if found is not None and now < found.ends:
                if found.turn != over:
                    return found._replace(mine=False)
                level = min(found.level + 1, MOST_LEVEL)
            ends = now + seconds * 2**level
            lease = Lease(os.urandom(TURN_SIZE), level, ends, mine=True)
            self._leases[entry.address] = lease
            return lease

    def release(self, entry: Entry, lease: Lease) -> None:
        with self._lock:
            if self._leases.get(entry.address) == lease:
                del self._leases[entry.address]

    @contextlib.contextmanager
    def _reading(self) -> Iterator[Any]:
        with _reported(), self._space.reading() as namespace:
            yield namespace

    @contextlib.contextmanager
    def _writing(self, replace: bool = False) -> Iterator[Any]:
        with _reported(), self._space.writing(replace) as namespace:
            yield namespace


class _Locked:
    """A namespace with the manager's own locks."""

    def __init__(self, namespace: Any) -> None:
        self._namespace = namespace

    @contextlib.contextmanager
    def reading(self) -> Iterator[Any]:
        self._namespace.acquire_read_lock()
        try:
            yield self._namespace
        finally:
            self._namespace.release_read_lock()

    @contextlib.contextmanager
    def writing(self, replace: bool = False) -> Iterator[Any]:
        self._namespace.acquire_write_lock(replace=replace)
        try:
            yield self._namespace
        finally:
            self._namespace.release_write_lock()


def _place(type_: str, namespace: str, options: Mapping[str, Any]) -> str:
    """Return a name for the storage of a region's entries, the same in each process and unique. It
    does not contain a URL's user and password."""
    parts = (type_, namespace, *(f"{name}={options[name]!r}" for name in sorted(options)))
    return address_of(*(part.rpartition("@")[2].encode() for part in parts)).hex()


def _get(namespace: Any, key: str) -> bytes | None:
    """Return the value under ``key`` if it is bytes; other values are not ours."""
    try:
        found = namespace[key] if key in namespace else None  # noqa: SIM401 has no get
    except KeyError:
        return None
    return found if isinstance(found, bytes) else None


@contextlib.contextmanager
def _reported() -> Iterator[None]:
    try:
        yield
    except StoreUnavailableError:
        raise
    except Exception as error:
        if is_interruption(error):
            raise
        # Each backend has errors of its own. The caller gets none of them.
        raise StoreUnavailableError("backend", repr(error)) from error
