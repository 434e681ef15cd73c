"""Memcached through pylibmc (libmemcached), for speed and for servers that want a password."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from regions.backends.memcached_connection import Connection, added
from regions.backends.sasl import mechanisms
from regions.errors import ConfigurationError, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_NO_KEY = "brg1:"
"""Under which nothing is kept."""
_NO_MEMORY_ERROR = "error 48 "
"""libmemcached's number for a server that has no memory left."""


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
                "memcache_module = 'pylibmc': it is not installed; pip install '.[sasl]'"
            ) from error

        class Client(pylibmc.Client):  # type: ignore[misc]
            def serialize(self, value: bytes) -> tuple[bytes, int]:
                return value, 0

            def deserialize(self, value: bytes, flags: int) -> bytes:
                # Only bytes are ours; what else it may be is no record.
                return b"" if flags else value

        self._error = pylibmc.Error
        self._too_big = pylibmc.TooBig
        self._kept = self._resent = False
        self._signs_in = username is not None
        self._timeout = timeout
        milliseconds, microseconds = round(timeout * 1e3), round(timeout * 1e6)
        self._client = Client(
            [server.removeprefix("unix:")],
            binary=self._signs_in,
            username=username,
            password=password,
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

    def _get(self, keys: Sequence[str]) -> dict[str, bytes]:
        found: dict[str, bytes] = self._client.get_multi(keys)
        if not found:
            # Of many keys the library says nothing when the server fails; of one it does.
            self._client.get(keys[0])
        return found

    def add(self, key: str, value: bytes, exptime: int) -> bool:
        stored = bool(self._ask(self._client.add, key, value, exptime))
        return added(stored, self._resent)

    def set(self, key: str, value: bytes, exptime: int) -> bool:
        try:
            return bool(self._ask(self._client.set, key, value, exptime))
        except StoreUnavailable as error:
            cause = error.__cause__
            if isinstance(cause, self._too_big) or str(cause).startswith(_NO_MEMORY_ERROR):
                return False
            raise

    def delete(self, key: str) -> None:
        self._ask(self._client.delete, key)

    def _ask(self, command: Callable[..., Any], *args: Any) -> Any:
        kept, self._kept = self._kept, False
        self._resent = False
        started = time.monotonic()
        try:
            if self._signs_in and not kept:
                # Only of one key does the library say that the password is wrong.
                self._client.get(_NO_KEY)
            answer = command(*args)
        except self._error as error:
            self._client.disconnect_all()
            if kept and time.monotonic() - started < self._timeout / 2:
                # The server closed a connection that was kept, as one that restarted has.
                answer = self._ask(command, *args)
                self._resent = True
                return answer
            raise StoreUnavailable("server", str(error) or repr(error)) from error
        except BaseException:
            # Interrupted: the rest of the answer would be taken for that to the next request.
            self._client.disconnect_all()
            raise
        self._kept = True
        return answer
