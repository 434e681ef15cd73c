"""Counters on servers: decimal numbers, which the server itself adds to.

A number that the server changes cannot be sealed, so any program that can write to the server can
set it. The stored bytes are only read as a number here, never unpickled.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from beaker_regions.engine.store import Counters
from beaker_regions.errors import StoreUnavailableError
from beaker_regions.stores.servers.connection import Connection, NotANumberError
from beaker_regions.stores.servers.server import Server

_NUMBER = re.compile(rb"\d{1,20}")
_TRIES = 10
"""A number may be evicted between two requests, but hardly again and again."""


class ServerCounters(Counters):
    """Each number on the server that ``server_of`` its address names."""

    def __init__(self, server_of: Callable[[bytes], Server]) -> None:
        self._server_of = server_of

    def add(self, address: bytes, amount: int, seconds: float) -> int:
        server = self._server_of(address)
        key = server.key_of(_name(address))

        def count(connection: Connection) -> int | None:
            for _ in range(_TRIES):
                try:
                    # Leaves the time to live as it is.
                    number = connection.incr(key, amount)
                except NotANumberError:
                    connection.delete(key)
                    return None
                if number is not None:
                    return number
                if connection.add(key, b"%d" % amount, seconds):
                    return amount
            return None

        return _known(server.ask(count))

    def value(self, address: bytes) -> int:
        server = self._server_of(address)
        key = server.key_of(_name(address))
        found = server.ask(lambda connection: connection.get([key]))
        if key not in found:
            return 0
        return _known(int(found[key]) if _NUMBER.fullmatch(found[key]) else None)

    def reset(self, address: bytes) -> None:
        self._server_of(address).delete([_name(address)])


def _name(address: bytes) -> str:
    return f"c{address.hex()}"


def _known(number: int | None) -> int:
    if number is None:
        raise StoreUnavailableError("refused", "what is stored is no counter of ours")
    return number
