"""Beaker's own front (`Cache`, `Value`, sessions) on a region: a NamespaceManager over any store.

A namespace is to its keys what a function is to its calls: each key is an entry, and clearing the
namespace changes one generation, whatever it covers, and touches nothing of another's.

What `beaker.container.Value` does with a namespace, and what it costs here:

a hit
    Takes the read lock, asks ``key in namespace``, then ``namespace[key]``. The read lock locks
    nothing: it brackets what belongs together, and within it a key is looked up once. One round
    trip, and what is tested for is what is read.
a creation
    Takes the creation lock (the entry's lease, so one creates in the whole cluster), looks again,
    creates, sets. The look under the lock notes the generations; the value is set under these, and
    so is never seen if it was invalidated while it was being created (`regions.region`).
a removal
    Takes the write lock and deletes the key if it is there. It is always there, under the write
    lock: what is absent may be being created, and must be invalidated as well.
`session.lock()`
    Takes the write lock in a namespace that is a session: a lease, as of a creation, so that one
    has it in the whole cluster, for as long as the region's leases last. Saving takes none: it
    does not wait for who has the lock.

A store that fails is nobody's failure: a key is absent then, and a set is counted and logged.
"""

from __future__ import annotations

import math
import threading
import time
from typing import TYPE_CHECKING, Any

from beaker.container import NamespaceManager

from beaker_regions.engine import invalidation
from beaker_regions.engine.waiting import Waiter
from beaker_regions.entries.entry import (
    Entry,
    Lookup,
    address_of,
    entry_scope,
    function_scope,
    region_scope,
)
from beaker_regions.entries.keys import encode
from beaker_regions.entries.records import GENERATION_SIZE, Codec, Record
from beaker_regions.entries.sentinels import MISSING
from beaker_regions.errors import StoreUnavailableError, UnkeyableArgumentError

if TYPE_CHECKING:
    from collections.abc import Callable

    from beaker_regions.engine.region import Region
    from beaker_regions.engine.store import Lease


class _ThreadState(threading.local):
    """What a thread is doing with a namespace."""

    def __init__(self) -> None:
        self.readers = 0
        """How many read locks it holds."""
        self.writers = 0
        self.seen: dict[bytes, Any] = {}
        """What it has looked up under its read lock, by address."""
        self.creating: dict[bytes, Lookup | None] = {}
        """The entries whose creation lock it holds; with what it saw there first, if it looked."""


class _Locked(threading.local):
    """The sessions that a thread has locked. A session that is loaded gets another namespace."""

    def __init__(self) -> None:
        self.leases: dict[bytes, Lease | None] = {}
        """By the address of the lock; None: the store was away."""


_locked = _Locked()
_NOT_LOOKED = Lookup(None, ())
_LOCK = ("lock",)
"""Of a session; no key of Beaker's, which are texts."""


class RegionNamespace(NamespaceManager):  # type: ignore[misc]
    """One of Beaker's namespaces, kept in a region.

    ``timeout`` is what Beaker's sessions call it: for how many seconds an item lives that is set
    without a time of its own (None: for good). ``grace`` is for how many seconds longer `Value`
    may serve the old value while another caller creates the new one. ``is_function`` tells the
    namespaces that are decorated functions, ``is_session`` says that this one is a session.
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
        """Return where a key's value is stored; text and the bytes that `Cache` makes of it are
        the same key. Raises UnkeyableArgumentError."""
        if isinstance(key, str):
            key = key.encode("ascii", "backslashreplace")
        try:
            encoded = encode(key)
        except (TypeError, ValueError, RecursionError) as error:
            raise UnkeyableArgumentError(
                f"{key!r} cannot be a key: {error}. Use a text, or what identifies it"
            ) from error
        # Region names have no space: no function has this address.
        address = address_of(b"beaker namespace", self.region.name.encode(), self._name, encoded)
        # The namespace of a session is its id, which is a secret and so nothing for the log.
        return Entry("a Beaker namespace", address, (entry_scope(address), *self._shared_scopes))

    # -- reading ---------------------------------------------------------------------------

    def acquire_read_lock(self) -> None:
        """Begin to read: what belongs together is looked up once."""
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
            reading = self._look(entry)
            life = self._grace
            if reading is not None and reading.record is not None:
                life += reading.record.expire
            found = self.region.value_if_younger(entry, reading, life)
            value = (MISSING,) if found is MISSING else found
            self.region.stats.count("misses" if found is MISSING else "hits")
            if thread.readers:
                thread.seen[entry.address] = value
        return value[0]

    def _look(self, entry: Entry) -> Lookup | None:
        creating = self._thread.creating
        reading = self.region.look(entry)
        if creating.get(entry.address) is _NOT_LOOKED:
            if reading is not None and not _complete(reading):
                reading = self._begin(entry)
            creating[entry.address] = reading
        return reading

    # -- writing ---------------------------------------------------------------------------

    def acquire_write_lock(self, wait: bool = True, replace: bool = False) -> bool:
        """Begin to write: from here to the release every key counts as present. A session, which
        saves itself with ``replace``, is locked otherwise; False if another has locked it and
        this is not to wait."""
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
        """Store an item that nobody creates, such as a session's."""
        entry = self.entry(key)
        self._write(entry, value, self._begin(entry), None)

    def set_value(self, key: Any, value: Any, expiretime: float | None = None) -> None:
        """Store a value that was created, under what was current when that began; or, without a
        creation lock, one that replaces whatever others are creating now.

        Inside a database transaction a value may be of uncommitted rows, and is not stored.
        """
        entry = self.entry(key)
        reading = self._thread.creating.get(entry.address, _NOT_LOOKED)
        if reading is _NOT_LOOKED:
            self.region.invalidate(entry.own_scope)
        if invalidation.transactions.active():
            return
        if reading is _NOT_LOOKED:
            reading = self._begin(entry)
        self._write(entry, value, reading, expiretime)

    def __delitem__(self, key: Any) -> None:
        entry = self.entry(key)
        self._thread.seen.clear()
        # Beaker's own region_invalidate() makes a text of a call's arguments that no longer tells
        # which call it was: that could be any call of the function.
        whole = frozenset((self._scope,)) if self._is_function(self.namespace) else frozenset()
        self.region.invalidate(entry.own_scope | whole)

    def do_remove(self) -> None:
        """Let no later read see anything of this namespace as it was; nothing else is touched."""
        self._thread.seen.clear()
        self.region.invalidate(frozenset((self._scope,)))

    def keys(self) -> Any:
        raise NotImplementedError("the store knows entries by their digests, not by their keys")

    def _begin(self, entry: Entry) -> Lookup | None:
        return self._ask(self.region.store.read_for_load, entry)  # type: ignore[no-any-return]

    def _write(
        self, entry: Entry, value: Any, reading: Lookup | None, expiretime: float | None
    ) -> None:
        self._thread.seen.clear()
        if reading is None or not _complete(reading):
            return
        expire = float(expiretime or self.timeout or math.inf)
        record = Record(
            generations=tuple([each for each in reading.generations if each is not None]),
            stored_at=time.time(),
            expire=expire,
            load_seconds=0.0,
            codec=Codec.PICKLE,
            payload=b"",
        )
        # In a tuple, a path or a file is a value as any other, and no content to be copied. It is
        # exchanged to replace what is there for every host, even where each has its own files.
        life = expire + self._grace
        self._ask(self.region.store.compare_and_set, entry, (value,), record, life, None)

    def _ask(self, ask: Callable[..., Any], *args: Any) -> Any:
        """Ask the store; None, counted and logged, when it is not to be had."""
        try:
            return ask(*args)
        except StoreUnavailableError as error:
            self.region.stats.fault(error.kind, "a Beaker namespace", error)
            return None

    # -- creating --------------------------------------------------------------------------

    def get_creation_lock(self, key: Any) -> CreationLock:
        return CreationLock(self, self.entry(key))


class CreationLock:
    """One key's creation lock: a lease, which only saves work. When it cannot be had, or lasts
    longer than the region allows, its caller creates as well, and no harm is done."""

    def __init__(self, namespace: RegionNamespace, entry: Entry) -> None:
        self._namespace = namespace
        self._region = namespace.region
        self._entry = entry
        self._lease: Lease | None = None

    def acquire(self, wait: bool = True) -> bool:
        """Take the lock; False if another has it and this is not to wait.

        Waiting ends when another has set a value: all who wait then go on at once. It ends as well
        where a load would wait no more (`beaker_regions.engine.waiting`).
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
            reading = region.look(self._entry)
            before = before or reading
            if reading is None or (reading.is_current and reading != before):
                break
            waiter.refused(lease)
            region.stats.count("waits")
            time.sleep(waiter.pause())
        self._namespace._thread.creating[self._entry.address] = _NOT_LOOKED
        return True

    def release(self) -> None:
        self._namespace._thread.creating.pop(self._entry.address, None)
        if self._lease is not None:
            self._namespace._ask(self._region.store.release, self._entry, self._lease)
            self._lease = None


def _complete(reading: Lookup) -> bool:
    """Whether a value may be stored under the generations of ``reading``."""
    return all(each is not None and len(each) == GENERATION_SIZE for each in reading.generations)
