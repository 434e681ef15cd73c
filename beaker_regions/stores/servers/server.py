"""One server as this process knows it: its connections, failures and pending
invalidations."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar, cast

from beaker_regions.entries.entry import Entry
from beaker_regions.entries.known import Known
from beaker_regions.errors import ApplyingError, NotTakenError, StoreUnavailableError
from beaker_regions.runtime import forking
from beaker_regions.stores.pending import PendingInvalidations
from beaker_regions.stores.servers.connection import Connection, Halves, whole
from beaker_regions.stores.servers.event_loops import Loops
from beaker_regions.stores.servers.loop_connection import Answer
from beaker_regions.telemetry import tracing

T = TypeVar("T")


def stem_of(prefix: str) -> str:
    """Return the start of all keys of a store with this prefix."""
    return f"{prefix}:brg1:" if prefix else "brg1:"


class _Local(threading.local):
    """A thread's connection, and the process that made it; 0: there is none."""

    process = 0
    connection: Connection
    inherited: Connection | None


class Connections:
    """A server's connections: one for each thread, none used after a fork."""

    def __init__(self, connect: Callable[[], Connection]) -> None:
        self._connect = connect
        self.local = _Local()

    def mine(self) -> Connection:
        """Return the calling thread's connection."""
        local = self.local
        if local.process != os.getpid():
            # A connection copied by a fork is kept but not used. Closing it could send "quit" on a
            # socket that the parent still uses.
            local.inherited = local.connection if local.process else None
            local.connection, local.process = self._connect(), os.getpid()
        return local.connection


class Server:
    """A server. After a failure it is not asked for ``retry`` seconds, and then one caller tries
    it. Pending deletions are made before anything else is asked of it.

    All keys begin with ``stem``."""

    def __init__(
        self,
        name: str,
        connect: Callable[[], Connection],
        retry: float,
        pending: PendingInvalidations,
        stem: str,
        loops: Loops | None,
    ) -> None:
        self.name = name
        """For messages, such as "memcached 127.0.0.1:11211"."""
        self.stem = stem
        self._connections = Connections(connect)
        self._loops = loops
        self._retry = retry
        self._pending = pending
        self._failed = False
        self._next_try = 0.0
        self.after_fork()
        forking.register(self)

    def after_fork(self) -> None:
        self._lock = threading.Lock()

    def key_of(self, name: str) -> str:
        """Return the key of an item: a record is named by its entry's address, a generation by its
        scope, a lease by its own name."""
        return f"{self.stem}{name}"

    def keys_of(self, entry: Entry) -> list[str]:
        """Return the key of an entry's record, then those of its generations."""
        stem = self.stem
        return [stem + entry.address.hex(), *[stem + scope for scope in entry.scopes]]

    def cover(self, scope: str) -> None:
        """Register a region's scope: it covers everything that the region keeps here."""
        self._pending.cover(scope)

    def ask(self, command: Callable[[Connection], T]) -> T:
        """Run ``command`` with this thread's connection. Raises StoreUnavailableError."""
        if self._failed:
            self._take_turn()
        return self._do(command)

    def get_if_changed(self, known: Known) -> dict[str, bytes] | None:
        """Ask for a known answer again, as `Connection.get_if_changed`. Raises
        StoreUnavailableError."""
        local = self._connections.local
        if (
            self._failed
            or local.process != os.getpid()
            or tracing.watchers
            or self._pending.may_have_any()
        ):
            return self.ask(lambda connection: connection.get_if_changed(known))
        # Without further calls: this is every hit.
        try:
            return local.connection.get_if_changed(known)
        except StoreUnavailableError as error:
            raise self.has_failed(error) from error

    def asking(self, command: Callable[[Connection], Halves[T]]) -> Halves[T]:
        """As `ask`, for a command in halves."""
        if self._failed:
            self._take_turn()
        return (yield from self._doing(command))

    def begin_get(
        self, keys: Sequence[str], known: Known | None = None
    ) -> asyncio.Future[Answer] | None:
        """Begin to fetch items, those of the ``known`` answer if there is one, for a task of the
        running event loop. Returns None if it must ask in a thread: the server has failed, or has
        pending invalidations, or has no connections of event loops."""
        if self._loops is None or self._failed:
            return None
        pending = self._pending
        if pending.has_any() if known is None else pending.may_have_any():
            return None
        answer = self._loops.get(keys, known, self)
        if tracing.watchers and answer is not None:
            tracing.count_round_trip()
        return answer

    def _do(self, command: Callable[[Connection], T]) -> T:
        try:
            answer = command(self._ready())
        except StoreUnavailableError as error:
            raise self.has_failed(error) from error
        self._failed = False
        return answer

    def _doing(self, command: Callable[[Connection], Halves[T]]) -> Halves[T]:
        try:
            answer = yield from command(self._ready())
        except StoreUnavailableError as error:
            raise self.has_failed(error) from error
        self._failed = False
        return answer

    def _ready(self) -> Connection:
        """Apply the server's pending invalidations; return this thread's connection."""
        connection = self._connections.mine()
        if tracing.watchers:
            connection = cast("Connection", tracing.CountingConnection(connection))
        self._pending.apply(lambda names: self._delete(connection, names))
        return connection

    def has_answered(self) -> None:
        """Update the server's state after an answer."""
        self._failed = False

    def has_failed(self, error: StoreUnavailableError) -> StoreUnavailableError:
        """Update the server's state after a failure; return the error to raise."""
        if isinstance(error, NotTakenError):
            # It answers, so it can be asked for other items.
            self._failed = False
            return NotTakenError(f"{self.name}: {error}")
        # The caller that applies them has reached the server, so there is no need to wait.
        reached = isinstance(error, ApplyingError)
        self._next_try = time.monotonic() + (0.0 if reached else self._retry)
        self._failed = self._failed or not reached
        return StoreUnavailableError("server", f"{self.name}: {error}")

    def _take_turn(self) -> None:
        with self._lock:
            now = time.monotonic()
            if now < self._next_try:
                again = f"it is asked again in {self._next_try - now:.1g} s"
                raise StoreUnavailableError("away", f"{self.name} failed just now; {again}")
            self._next_try = now + self._retry

    @property
    def is_away(self) -> bool:
        """Whether it failed when it was last asked."""
        return self._failed

    def changing(
        self, names: Iterable[str], command: Callable[[Connection], Halves[T]]
    ) -> Halves[T]:
        """Run ``command``, which deletes or replaces the items ``names``. If it fails, their
        deletion becomes pending, and StoreUnavailableError is raised.

        Tried at once even shortly after a failure: other processes may be using the server again.
        """
        try:
            return (yield from self._doing(command))
        except StoreUnavailableError:
            self.keep_pending(names)
            raise

    def delete(self, names: Iterable[str]) -> None:
        """Delete the items ``names``. If that fails, it becomes pending, and
        StoreUnavailableError is raised."""
        names = list(names)
        try:
            self._do(lambda connection: self._delete(connection, names))
        except StoreUnavailableError:
            self.keep_pending(names)
            raise

    def keep_pending(self, names: Iterable[str]) -> None:
        """Make the deletion of ``names`` pending: before anything else is asked of the server."""
        self._pending.keep(names)

    def _delete(self, connection: Connection, names: Iterable[str]) -> None:
        keys = list(map(self.key_of, names))
        if len(keys) == 1:
            connection.delete(*keys)
        else:
            whole(connection.deleting(keys))
