"""Leases on memcached servers: an item that one caller adds, and that runs out by itself."""

from __future__ import annotations

import struct
import time
from typing import TYPE_CHECKING

from regions.backends.memcached_connection import exptime_of
from regions.backends.memcached_server import key_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from regions.backends.memcached_server import Server
    from regions.store import Entry

_TOKEN = struct.Struct("<d")
"""Of a lease: when it ends, by this process's clock."""
_TAKEN, _ARRIVING = b"taken", b"arriving"


class MemcachedLeases:
    """At most one an entry, on the server that ``server_of`` says. Times in seconds; every method
    may raise StoreUnavailable."""

    def __init__(self, server_of: Callable[[Entry], Server]) -> None:
        self._server_of = server_of

    def acquire(self, entry: Entry, seconds: float) -> bytes:
        """As `Store.acquire`."""
        server, name = self._server_of(entry), _name(entry)
        exptime, ends = exptime_of(seconds), time.monotonic() + seconds
        try:
            taken = server.ask(lambda connection: connection.add(key_of(name), _TAKEN, exptime))
        except BaseException:
            # A server that hung may give a lease that nobody waits for any more; and one that was
            # given is nobody's when a signal ends this process before it has the answer.
            server.owe([name])
            raise
        return _TOKEN.pack(ends) if taken else b""

    def renew(self, entry: Entry, token: bytes, seconds: float) -> bytes:
        """Let a lease last for ``seconds`` from now, and who waits for it know that content
        arrives. Returns the token to release it with: the same if another has it by now."""
        if _is_over(token):
            return self.acquire(entry, seconds) or token
        key, exptime, ends = key_of(_name(entry)), exptime_of(seconds), time.monotonic() + seconds
        self._server_of(entry).ask(lambda connection: connection.set(key, _ARRIVING, exptime))
        return _TOKEN.pack(ends)

    def is_arriving(self, entry: Entry) -> bool:
        """Whether content arrives for who has the lease: it was renewed, and has not run out."""
        key = key_of(_name(entry))
        found = self._server_of(entry).ask(lambda connection: connection.get([key]))
        return found.get(key) == _ARRIVING

    def release(self, entry: Entry, token: bytes) -> None:
        """As `Store.release`."""
        # A lease that ran out may be another's by now.
        if not _is_over(token):
            self._server_of(entry).delete([_name(entry)])


def _is_over(token: bytes) -> bool:
    ends: float
    (ends,) = _TOKEN.unpack(token)
    return time.monotonic() >= ends


def _name(entry: Entry) -> str:
    return f"l{entry.address.hex()}"
