"""Beaker's own API (`Cache`, `Value`, sessions) on a region: a NamespaceManager over any store.

A namespace has keys, as a function has calls. Each key is an entry. Clearing the namespace changes
one generation and does not affect another namespace.

`beaker.container.Value` uses a namespace as follows:

a hit
    Takes the read lock, asks ``key in namespace``, then ``namespace[key]``. The read lock locks
    nothing: while it is held, a key is looked up once. So a hit is one round trip, and the value
    that was found is the value that is returned.
a creation
    Takes the creation lock (the entry's lease, so that one caller in the cluster creates), looks
    the key up again, creates and sets. The lookup under the lock records the generations, and the
    value is stored with them. So a value that is invalidated while it is created is never used
    (`beaker_regions.engine.region`).
a removal
    Takes the write lock and deletes the key if it is present. Under the write lock every key
    counts as present, because a caller may be creating it, and that must be invalidated too.
`session.lock()`
    Takes the write lock in a namespace that is a session. This lock is a lease: one caller in the
    cluster has it, at most for the time of the region's leases. Saving takes no lock and does not
    wait for one.

If the store is unavailable, no error is raised: a key is absent, and a failed set is counted and
logged.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from typing import Any

from beaker.container import NamespaceManager

from beaker_regions.engine import invalidation
from beaker_regions.engine.region import Region
from beaker_regions.engine.store import Lease
from beaker_regions.engine.waiting import Waiter
from beaker_regions.entries.entry import (
    Entry,
    Lookup,
    address_of,
    entry_scope,
    function_scope,
    region_scope,
)
from beaker_regions.entries.keys import encoded_key
from beaker_regions.entries.records import GENERATION_SIZE, Record
from beaker_regions.entries.sentinels import MISSING
from beaker_regions.errors import StoreUnavailableError


class _ThreadState(threading.local):
    """The state of one thread in a namespace."""

    def __init__(self) -> None:
        self.readers = 0
        """The number of read locks that it holds."""
        self.writers = 0
        self.seen: dict[bytes, Any] = {}
        """The values that it has looked up under its read lock, by address."""
        self.creating: dict[bytes, Lookup | None] = {}
        """The entries whose creation lock it holds, each with its first lookup, if any."""


class _Locked(threading.local):
    """The sessions that a thread has locked. Each load of a session makes a new namespace, so the
    leases cannot be in the namespace."""

    def __init__(self) -> None:
        self.leases: dict[bytes, Lease | None] = {}
        """Leases by the address of the lock. None: the store was unavailable."""


_locked = _Locked()
_NOT_LOOKED_UP = Lookup(None, ())
_LOCK = ("lock",)
"""The key of a session's lock. Beaker's keys are texts, so none of them is equal to it."""


class RegionNamespace(NamespaceManager):  # type: ignore[misc]
    """One of Beaker's namespaces, in a region.

    ``timeout`` (Beaker's word) is the lifetime, in seconds, of an item set without one; None: no
    expiry. For ``grace`` seconds more, `Value` may serve the stale value while another caller
    creates the new one. ``is_function`` says whether a namespace is a decorated function;
    ``is_session`` says that this one is a session.
    """

    def __init__(
        self,
        namespace: str,
        region: Region,
        *,
        timeout: float | None = None,
        grace: float = 0.0,
        is_function: Callable[[str], bool] = lambda _: False,
        is_session: bool = False,
    ) -> None:
        super().__init__(namespace)
        self._is_session = is_session
        self.region = region
        self.timeout = timeout
        self._grace = grace
        self._is_function = is_function
        self._name = namespace.encode("utf-8", "surrogatepass")
        self._scope = function_scope(region.name, namespace)
        self._shared_scopes = (self._scope, region_scope(region.name))
        self._thread = _ThreadState()

    def entry(self, key: Any) -> Entry:
        """Return the entry of a key. A text and the bytes that `Cache` makes of it are one key.
        Raises UnkeyableArgumentError."""
        if isinstance(key, str):
            key = key.encode("ascii", "backslashreplace")
        encoded = encoded_key("a Beaker namespace", key)
        # The address of a function begins with its encoded identity: no function has this one.
        address = address_of(b"beaker namespace", self.region.name.encode(), self._name, encoded)
        # The namespace of a session is its id, a secret that must not be logged.
        return Entry("a Beaker namespace", address, (entry_scope(address), *self._shared_scopes))

    # -- lookup ---------------------------------------------------------------------------

    def acquire_read_lock(self) -> None:
        """Begin to read: until the release, each key is looked up once."""
        self._thread.readers += 1

    def release_read_lock(self) -> None:
        self._thread.readers -= 1
        if not self._thread.readers:
            self._thread.seen.clear()

    def __contains__(self, key: Any) -> bool:
        return bool(self._thread.writers) or self._get(key) is not MISSING

    def __getitem__(self, key: Any) -> Any:
        value = self._get(key)
        if value is MISSING:
            raise KeyError(key)
        return value

    def _get(self, key: Any) -> Any:
        thread, entry = self._thread, self.entry(key)
        value = thread.seen.get(entry.address)
        if value is None:
            lookup = self._look_up(entry)
            lifetime = self._grace
            if lookup is not None and lookup.record is not None:
                lifetime += lookup.record.expire
            found = self.region.value_if_younger(entry, lookup, lifetime)
            value = (MISSING,) if found is MISSING else found
            self.region.stats.count("misses" if found is MISSING else "hits")
            if thread.readers:
                thread.seen[entry.address] = value
        return value[0]

    def _look_up(self, entry: Entry) -> Lookup | None:
        creating = self._thread.creating
        lookup = self.region.lookup(entry)
        if creating.get(entry.address) is _NOT_LOOKED_UP:
            if lookup is not None and not _complete(lookup):
                lookup = self._read_for_load(entry)
            creating[entry.address] = lookup
        return lookup

    # -- writing ---------------------------------------------------------------------------

    def acquire_write_lock(self, wait: bool = True, replace: bool = False) -> bool:
        """Begin to write: until the release, every key counts as present. Without ``replace`` a
        session is locked (it saves itself with ``replace``). Returns False if another caller has
        locked it and ``wait`` is False."""
        if self._is_session and not replace:
            return self._lock(wait)
        self._thread.writers += 1
        return True

    def release_write_lock(self) -> None:
        if self._thread.writers:
            self._thread.writers -= 1
        elif self._is_session:
            self._unlock()

    def _lock(self, wait: bool) -> bool:
        waiter, entry, held = Waiter(self.region.lease), self.entry(_LOCK), _locked.leases
        while entry.address not in held and not waiter.is_stuck:
            lease = self._ask(self.region.store.acquire, entry, self.region.lease, waiter.over)
            if lease is None or lease.mine:
                held[entry.address] = lease
            elif not wait:
                return False
            else:
                waiter.refused(lease)
                time.sleep(waiter.pause())
        return True

    def _unlock(self) -> None:
        entry = self.entry(_LOCK)
        lease = _locked.leases.pop(entry.address, None)
        if lease is not None:
            self._ask(self.region.store.release, entry, lease)

    def __setitem__(self, key: Any, value: Any) -> None:
        """Store an item that needs no creation lock, such as a session's."""
        entry = self.entry(key)
        self._write(entry, value, self._read_for_load(entry), None)

    def set_value(self, key: Any, value: Any, expiretime: float | None = None) -> None:
        """Store a created value with the generations from before its creation. Without a creation
        lock, the value replaces those that other callers are creating now.

        Inside a database transaction nothing is stored: the value may depend on uncommitted rows.
        """
        entry = self.entry(key)
        lookup = self._thread.creating.get(entry.address, _NOT_LOOKED_UP)
        if lookup is _NOT_LOOKED_UP:
            self.region.invalidate(entry.own_scope)
        if invalidation.transactions.active():
            return
        if lookup is _NOT_LOOKED_UP:
            lookup = self._read_for_load(entry)
        self._write(entry, value, lookup, expiretime)

    def __delitem__(self, key: Any) -> None:
        entry = self.entry(key)
        self._thread.seen.clear()
        # Beaker's own region_invalidate() turns a call's arguments into a text that does not say
        # which call it was. So every call of the function is invalidated.
        whole = frozenset((self._scope,)) if self._is_function(self.namespace) else frozenset()
        self.region.invalidate(entry.own_scope | whole)

    def do_remove(self) -> None:
        """Invalidate every key of this namespace, and nothing else."""
        self._thread.seen.clear()
        self.region.invalidate(frozenset((self._scope,)))

    def keys(self) -> Any:
        raise NotImplementedError("the store knows entries by their digests, not by their keys")

    def _read_for_load(self, entry: Entry) -> Lookup | None:
        return self._ask(self.region.store.read_for_load, entry)  # type: ignore[no-any-return]

    def _write(
        self, entry: Entry, value: Any, lookup: Lookup | None, expiretime: float | None
    ) -> None:
        self._thread.seen.clear()
        if lookup is None or not _complete(lookup):
            return
        expire = float(expiretime or self.timeout or math.inf)
        record = Record.begun(lookup.generations, expire)
        # In a tuple, a path or a file is pickled as any value. Bare, it would be content. This
        # call replaces the value for every host, even if each host has its own files.
        lifetime = expire + self._grace
        self._ask(self.region.store.compare_and_set, entry, (value,), record, lifetime, None)

    def _ask(self, ask: Callable[..., Any], *args: Any) -> Any:
        """Send a request to the store. Returns None if it failed; this is counted and logged."""
        try:
            return ask(*args)
        except StoreUnavailableError as error:
            self.region.stats.fault(error.kind, "a Beaker namespace", error)
            return None

    # -- creating --------------------------------------------------------------------------

    def get_creation_lock(self, key: Any) -> CreationLock:
        return CreationLock(self, self.entry(key))


class CreationLock:
    """One key's creation lock: a lease, which only saves work. A caller that cannot take it, or
    that has waited for longer than the region allows, creates the value too. That does no harm."""

    def __init__(self, namespace: RegionNamespace, entry: Entry) -> None:
        self._namespace = namespace
        self._region = namespace.region
        self._entry = entry
        self._lease: Lease | None = None

    def acquire(self, wait: bool = True) -> bool:
        """Take the lock. Returns False if another caller has it and ``wait`` is False.

        Waiting ends when another caller has set a value; all waiting callers then go on at once.
        It also ends when a load would stop waiting (`beaker_regions.engine.waiting`).
        """
        region, waiter = self._region, Waiter(self._region.lease)
        before: Lookup | None = None
        while not (waiter.is_stuck or waiter.in_vain):
            self._lease = lease = self._namespace._ask(
                region.store.acquire, self._entry, region.lease, waiter.over
            )
            if lease is None or lease.mine:
                break
            self._lease = None
            if not wait:
                return False
            lookup = region.lookup(self._entry)
            before = before or lookup
            if lookup is None or (lookup.is_current and lookup != before):
                break
            waiter.refused(lease)
            region.stats.count("waits")
            time.sleep(waiter.pause())
        self._namespace._thread.creating[self._entry.address] = _NOT_LOOKED_UP
        return True

    def release(self) -> None:
        self._namespace._thread.creating.pop(self._entry.address, None)
        if self._lease is not None:
            self._namespace._ask(self._region.store.release, self._entry, self._lease)
            self._lease = None


def _complete(lookup: Lookup) -> bool:
    """Whether a value may be stored with the generations of a lookup."""
    return all(each is not None and len(each) == GENERATION_SIZE for each in lookup.generations)
