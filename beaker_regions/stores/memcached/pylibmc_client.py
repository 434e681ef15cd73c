"""Memcached through pylibmc (libmemcached), for speed and for servers that want a password."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Any

from beaker_regions.errors import ConfigurationError, NotTakenError, StoreUnavailableError
from beaker_regions.stores.memcached.exptime import exptime_of
from beaker_regions.stores.memcached.python_memcached import PythonMemcached
from beaker_regions.stores.memcached.sasl import mechanisms
from beaker_regions.stores.servers.connection import (
    Connection,
    Item,
    NotANumberError,
    added,
)
from beaker_regions.stores.servers.name_lookup import address_of, forget

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from beaker_regions.entries.known import Known
    from beaker_regions.stores.servers.connection import Halves

_NO_KEY = "brg1:"
"""A key that is never used."""
_NO_MEMORY_ERROR = "error 48 "
"""libmemcached's number for a server without free memory."""


class Pylibmc(Connection):
    """Through pylibmc (libmemcached), for speed and for servers that want a password."""

    def __init__(
        self, server: str, timeout: float, username: str | None, password: str | None
    ) -> None:
        try:
            with mechanisms():
                import pylibmc
        except ImportError as error:
            raise ConfigurationError(
                "memcache_module = 'pylibmc': it is not installed; pip install pylibmc"
            ) from error

        class Client(pylibmc.Client):  # type: ignore[misc]
            def serialize(self, value: bytes) -> tuple[bytes, int]:
                return value, 0

            def deserialize(self, value: bytes, flags: int) -> bytes:
                # Only bytes are ours; an item with flags is no record.
                return b"" if flags else value

        self._error = pylibmc.Error
        self._too_big = pylibmc.TooBig
        self._not_found = pylibmc.NotFound
        self._not_understood = pylibmc.ClientError
        self._connected = object()
        """Another object for each connection, and after each answer that is incomplete."""
        self._kept = self._resent = False
        self._signs_in = username is not None
        self._timeout = timeout
        # For what the library cannot do: send to several servers before the first answers, and say
        # when it has connected again, which makes the numbers of items worthless. A server that
        # wants a password does not speak the text protocol.
        self._text = None if self._signs_in else PythonMemcached(server, timeout)
        self._server, self._client_class = server, Client
        self._options = {"binary": self._signs_in, "username": username, "password": password}
        self._client = self._made()
        self._is_old = False

    def _made(self) -> Any:
        try:
            address = address_of(self._server, self._timeout)
        except OSError as error:
            raise StoreUnavailableError("server", str(error)) from error
        milliseconds, microseconds = round(self._timeout * 1e3), round(self._timeout * 1e6)
        return self._client_class(
            [address],
            **self._options,
            behaviors={
                "tcp_nodelay": True,
                "tcp_keepalive": True,
                "connect_timeout": milliseconds,
                "_poll_timeout": milliseconds,
                "send_timeout": microseconds,
                "receive_timeout": microseconds,
            },
        )

    def get(self, keys: Sequence[str]) -> dict[str, bytes]:
        found: dict[str, bytes] = self._ask(self._get, keys)
        return found

    def get_if_changed(self, known: Known) -> dict[str, bytes] | None:
        # The library hands out items, and not the answer.
        return self._text.get_if_changed(known) if self._text else self.get(known.keys)

    def _get(self, keys: Sequence[str]) -> dict[str, bytes]:
        found: dict[str, bytes] = self._client.get_multi(keys)
        if len(found) < len(keys):
            # The server may have failed: the library does not say so, and connects again.
            self._connected = object()
        if not found and self._text:
            return self._text.get(keys)
        if not found:
            self._client.get(keys[0])
        return found

    def add(self, key: str, value: bytes, seconds: float) -> bool:
        stored = bool(self._ask(self._client.add, key, value, exptime_of(seconds)))
        return added(stored, self._resent)

    def set(self, key: str, value: bytes, seconds: float) -> bool:
        return bool(self._store(self._client.set, key, value, exptime_of(seconds)))

    def _store(self, command: Callable[..., Any], *args: Any) -> bool | None:
        """Return the server's answer; None if it does not take the value."""
        try:
            return bool(self._ask(command, *args))
        except NotTakenError:
            return None

    def delete(self, key: str) -> None:
        self._ask(self._client.delete, key)

    def incr(self, key: str, amount: int) -> int | None:
        found: int | None = self._ask(self._incr, key, amount)
        return found

    def _incr(self, key: str, amount: int) -> int | None:
        try:
            return int(self._client.incr(key, amount))
        except self._not_found:
            return None
        except self._not_understood as error:
            raise NotANumberError(key) from error

    def gets(self, key: str) -> Item | None:
        if self._text:
            return self._text.gets(key)
        # Bytes, which live until the call ends. From a str the library makes bytes of its own,
        # and frees them before it sends them: another thread may overwrite them.
        value, number = self._ask(self._gets, key.encode())
        return None if value is None else Item(value, (number, self._connected))

    def _gets(self, key: bytes) -> tuple[bytes | None, int]:
        with self._numbered():
            found: tuple[bytes | None, int] = self._client.gets(key)
        if found[0] is None:
            self._connected = object()
        return found

    @contextlib.contextmanager
    def _numbered(self) -> Iterator[None]:
        """Let the library ask for the numbers of items. Not always, because it slows every hit."""
        self._client.set_behaviors({"cas": 1})
        try:
            yield
        finally:
            self._client.set_behaviors({"cas": 0})

    def cas(self, key: str, value: bytes, seconds: float, seen: Item | None) -> bool | None:
        if self._text:
            return self._text.cas(key, value, seconds, seen)
        if seen is None:
            stored = self._store(self._client.add, key, value, exptime_of(seconds))
        else:
            stored = self._store(self._cas, key, value, seconds, seen)
        return added(stored, self._resent) if stored is not None else None

    def _cas(self, key: str, value: bytes, seconds: float, seen: Item) -> bool:
        number, connected = seen.token
        if connected is not self._connected:
            return False
        try:
            with self._numbered():
                return bool(self._client.cas(key, value, number, exptime_of(seconds)))
        except self._not_found:
            return False

    # -- many at once ----------------------------------------------------------------------

    def getting(self, keys: Sequence[str]) -> Halves[dict[str, bytes]]:
        return self._text.getting(keys) if self._text else super().getting(keys)

    def setting(self, keys: Sequence[str], value: bytes, seconds: float) -> Halves[dict[str, Item]]:
        if self._text is None:
            return super().setting(keys, value, seconds)
        return self._text.setting(keys, value, seconds)

    def replacing(self, values: Mapping[str, bytes], seen: Mapping[str, Item]) -> Halves[list[str]]:
        return self._text.replacing(values, seen) if self._text else super().replacing(values, seen)

    def deleting(self, keys: Sequence[str]) -> Halves[None]:
        return self._text.deleting(keys) if self._text else super().deleting(keys)

    # -- asking ----------------------------------------------------------------------------

    def _ask(self, command: Callable[..., Any], *args: Any) -> Any:
        if self._is_old:
            # Only now: the former request still used the old client.
            self._client, self._is_old = self._made(), False
        kept, self._kept = self._kept, False
        self._resent = False
        started = time.monotonic()
        try:
            if self._signs_in and not kept:
                # The library reports a wrong password only for a request of one key.
                self._client.get(_NO_KEY)
            answer = command(*args)
        except self._error as error:
            if isinstance(error, self._too_big) or str(error).startswith(_NO_MEMORY_ERROR):
                self._kept = True
                raise NotTakenError(str(error)) from error
            self._disconnect()
            if kept and time.monotonic() - started < self._timeout / 2:
                # The server closed a kept connection, as after a restart.
                answer = self._ask(command, *args)
                self._resent = True
                return answer
            raise StoreUnavailableError("server", str(error) or repr(error)) from error
        except BaseException:
            # Interrupted: the rest of the answer must not be read as that to the next request.
            self._disconnect()
            raise
        self._kept = True
        return answer

    def _disconnect(self) -> None:
        self._client.disconnect_all()
        if not self._server.startswith("unix:"):
            host, _, port = self._server.rpartition(":")
            self._is_old = forget(host, int(port))
        self._connected = object()
