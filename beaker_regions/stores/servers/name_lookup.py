"""Names of servers, looked up within a time-out: the system's resolver may take ten seconds for one
attempt, and cannot be interrupted.

A name is looked up by a thread of its own, one for each name at a time. A caller that times out
leaves the thread running, and the next attempt takes its answer.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import socket
import threading
import time
from typing import Any, TypeVar

from beaker_regions.runtime.interruptions import is_interruption

S = TypeVar("S", bound=socket.socket)

KEPT = 60.0
"""Seconds for which the addresses of a name are kept, while servers answer there."""

Address = tuple[socket.AddressFamily, Any]
"""The family, and the address as ``connect`` takes it."""


class _Lookup:
    """A lookup that runs or has ended."""

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port
        self._ended = threading.Event()
        self.ended_at = float("inf")
        self._found: list[Address] | OSError = []
        threading.Thread(target=self._run, name=f"looks up {host}", daemon=True).start()

    def _run(self) -> None:
        try:
            found = socket.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
            # IPv4 first: servers listen on it more often.
            addresses = {(family, address) for family, _, _, _, address in found}
            self._found = sorted(addresses, key=lambda each: (each[0] != socket.AF_INET, each[1]))
        except (OSError, UnicodeError) as error:
            self._found = error if isinstance(error, OSError) else OSError(str(error))
        self.ended_at = time.monotonic()
        self._ended.set()

    def addresses(self, seconds: float) -> list[Address]:
        if not self._ended.wait(seconds):
            raise TimeoutError(f"the name {self._host} is still being looked up")
        if isinstance(self._found, OSError):
            raise OSError(*self._found.args)
        return self._found


_lookups: dict[tuple[str, int], _Lookup] = {}
_lock = threading.Lock()


def addresses(host: str, port: int, seconds: float) -> list[Address]:
    """Return the addresses of a server's name or number, one or more, IPv4 first. Raises OSError;
    after ``seconds`` TimeoutError."""
    with contextlib.suppress(ValueError):
        number = ipaddress.ip_address(host)
        return [(socket.AF_INET if number.version == 4 else socket.AF_INET6, (host, port))]
    with _lock:
        lookup = _lookups.get((host, port))
        if lookup is None or time.monotonic() - lookup.ended_at > KEPT:
            lookup = _lookups[host, port] = _Lookup(host, port)
    try:
        return lookup.addresses(seconds)
    except TimeoutError:
        raise
    except OSError:
        forget(host, port)
        raise


def connect(host: str, port: int, seconds: float, cls: type[S]) -> S:
    """Return a socket of class ``cls``, connected to a server within ``seconds``, with a time-out
    of as many. Raises OSError."""
    deadline = time.monotonic() + seconds
    places = addresses(host, port, seconds)
    for at, (family, address) in enumerate(places):
        made = cls(family, socket.SOCK_STREAM)
        try:
            # The remaining time is shared by the remaining addresses.
            left = (deadline - time.monotonic()) / (len(places) - at)
            made.settimeout(max(left, 0.001))
            made.connect(address)
            made.settimeout(seconds)
            return made
        except BaseException as error:
            made.close()
            last = at == len(places) - 1 or not isinstance(error, OSError) or is_interruption(error)
            if last:
                forget(host, port)
                raise
    raise OSError(f"the name {host} has no address")


def forget(host: str, port: int) -> None:
    """Look a name up again the next time, because no server answers at its address."""
    with _lock:
        lookup = _lookups.get((host, port))
        if lookup is not None and lookup.ended_at <= time.monotonic():
            del _lookups[host, port]


def _forget_all() -> None:
    # The lookup threads exist only in the parent.
    global _lock
    _lock = threading.Lock()
    _lookups.clear()


os.register_at_fork(after_in_child=_forget_all)
