"""One server, spoken to through python-memcached or pylibmc, in one manner.

Both libraries answer a failure like a miss, pick servers and pickle values by themselves. Here
each connection has one server, values are bytes and nothing else, and a failure is an error.
Connections belong to one thread of one process: neither library lets two callers share one.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

import memcache

from regions.backends.sasl import mechanisms
from regions.errors import ConfigurationError, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


_RECEIVE = 64 * 1024
"""Bytes asked of a socket at once."""


class Connection(ABC):
    """One thread's connection to one server. All times in seconds.

    Every method raises StoreUnavailable when the server fails: refuses, does not answer in time,
    closes, or answers nonsense.
    """

    @abstractmethod
    def get(self, keys: Sequence[str]) -> dict[str, bytes]:
        """Fetch what there is of ``keys``, in one round trip."""

    @abstractmethod
    def add(self, key: str, value: bytes, exptime: int) -> bool:
        """Store if there is nothing under ``key``; False when there is."""

    @abstractmethod
    def set(self, key: str, value: bytes, exptime: int) -> bool:
        """Store; False when the server will not take it (too large, out of memory)."""

    @abstractmethod
    def delete(self, key: str) -> None:
        """Remove ``key``, if it is there."""


class _Refuse:
    """Stands where the library would unpickle or decompress what a server sent."""

    def __init__(self, *_: Any) -> None:
        raise ValueError("a value that this application did not store")


class _Host(memcache._Host):  # type: ignore[misc]
    """A python-memcached server that remembers what it answered and why it failed."""

    answer = b""
    """The last line."""
    failure: object = None
    socket: Any

    def mark_dead(self, reason: object) -> None:
        self.failure = reason
        self.close_socket()

    def readline(self, raise_exception: bool = False) -> bytes:
        self.answer = super().readline(raise_exception)
        return self.answer

    def receive(self, buffer: bytearray, size: int) -> None:
        """Append what the server sends, ``size`` bytes at least."""
        wanted = len(buffer) + size
        while len(buffer) < wanted:
            received = self.socket.recv(max(_RECEIVE, wanted - len(buffer)))
            if not received:
                raise ConnectionResetError("the server closed the connection")
            buffer += received

    def _get_socket(self) -> socket.socket | None:
        # As the library's, which leaves a socket open that could not connect.
        if self.socket is None:
            self.failure = None
            fresh = socket.socket(self.family, socket.SOCK_STREAM)
            try:
                fresh.settimeout(self.socket_timeout)
                fresh.connect(self.address)
            except OSError as error:
                fresh.close()
                self.mark_dead(error)
                return None
            self.socket, self.buffer = fresh, b""
        return self.socket


class _Client(memcache.Client):  # type: ignore[misc]
    """A python-memcached client of one server, which it does not look for elsewhere."""

    def set_servers(self, servers: Sequence[str]) -> None:
        (server,) = servers
        self.servers = [_Host(server, socket_timeout=self.socket_timeout)]

    def _get_server(self, key: bytes) -> tuple[_Host | None, bytes | None]:
        (host,) = self.servers
        return (host, key) if host.connect() else (None, None)


class PythonMemcached(Connection):
    """Through python-memcached, the default."""

    def __init__(self, server: str, timeout: float) -> None:
        self._client = _Client(
            # Its own notation for IPv6.
            [f"inet6:{server}" if server.startswith("[") else server],
            socket_timeout=timeout,
            unpickler=_Refuse,
            decompressor=_Refuse,
            check_keys=False,
            server_max_value_length=0,
        )
        (self._host,) = self._client.servers

    def get(self, keys: Sequence[str]) -> dict[str, bytes]:
        found: dict[str, bytes] = self._ask(self._get, keys)
        return found

    def _get(self, keys: Sequence[str]) -> dict[str, bytes]:
        # What get_multi does, in two thirds of its time: one read takes the whole answer.
        host = self._host
        found: dict[str, bytes] = {}
        if not host.connect():
            return found
        host.send_cmd(b"get " + " ".join(keys).encode())
        buffer, at = bytearray(), 0
        while True:
            end = buffer.find(b"\r\n", at)
            if end < 0:
                host.receive(buffer, 1)
                continue
            line = buffer[at:end]
            if line == b"END":
                return found
            answer, key, flags, digits = line.split()
            size = int(digits)
            if answer != b"VALUE" or size < 0:
                raise ValueError(f"the server answers {bytes(line[:80])!r}")
            start = end + 2
            at = start + size + 2
            if len(buffer) < at:
                host.receive(buffer, at - len(buffer))
            # Only bytes are ours; what else it may be is no record.
            found[key.decode()] = b"" if flags != b"0" else bytes(buffer[start : at - 2])

    def add(self, key: str, value: bytes, exptime: int) -> bool:
        self._ask(self._client.add, key, value, exptime)
        return self._answered({b"STORED": True, b"NOT_STORED": False})

    def set(self, key: str, value: bytes, exptime: int) -> bool:
        self._ask(self._client.set, key, value, exptime)
        return self._answered({b"STORED": True, _TOO_LARGE: False, _NO_MEMORY: False})

    def delete(self, key: str) -> None:
        self._ask(self._client.delete, key)
        self._answered({b"DELETED": True, b"NOT_FOUND": True})

    def __del__(self) -> None:
        # Its thread has ended. The server is told nothing: after a fork the parent process may
        # go on using the connection.
        self._host.close_socket()

    def _ask(self, command: Callable[..., Any], *args: Any) -> Any:
        host = self._host
        kept, host.failure = host.socket is not None, None
        answer = self._try(command, *args)
        if kept and host.failure is not None and not isinstance(host.failure, TimeoutError):
            # The server closed a connection that was kept, as one that restarted has.
            answer = self._try(command, *args)
        if host.failure is not None:
            raise StoreUnavailable("server", str(host.failure) or repr(host.failure))
        return answer

    def _try(self, command: Callable[..., Any], *args: Any) -> Any:
        try:
            return command(*args)
        except Exception as error:
            # The library trips over what is not the protocol; what follows cannot be trusted.
            self._host.mark_dead(error)
            return None
        except BaseException:
            # Interrupted: the rest of the answer would be taken for that to the next request.
            self._host.close_socket()
            raise

    def _answered(self, meanings: dict[bytes, bool]) -> bool:
        """Return what the last answer means; one that it cannot be ends the connection."""
        answer = self._host.answer
        if answer not in meanings:
            self._host.close_socket()
            raise StoreUnavailable("server", f"it answers {answer[:80]!r}")
        return meanings[answer]


_TOO_LARGE = b"SERVER_ERROR object too large for cache"
_NO_MEMORY = b"SERVER_ERROR out of memory storing object"


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
        self._kept = False
        self._timeout = timeout
        milliseconds, microseconds = round(timeout * 1e3), round(timeout * 1e6)
        self._client = Client(
            [server.removeprefix("unix:")],
            binary=username is not None,
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
        return bool(self._ask(self._client.add, key, value, exptime))

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
        started = time.monotonic()
        try:
            answer = command(*args)
        except self._error as error:
            self._client.disconnect_all()
            if kept and time.monotonic() - started < self._timeout / 2:
                # The server closed a connection that was kept, as one that restarted has.
                return self._ask(command, *args)
            raise StoreUnavailable("server", str(error) or repr(error)) from error
        except BaseException:
            # Interrupted: the rest of the answer would be taken for that to the next request.
            self._client.disconnect_all()
            raise
        self._kept = True
        return answer


_NO_MEMORY_ERROR = "error 48 "
"""libmemcached's number for a server that has no memory left."""


class Connections:
    """A server's connections: one a thread, none kept over a fork."""

    def __init__(self, connect: Callable[[], Connection]) -> None:
        self._connect = connect
        self._local = threading.local()

    def mine(self) -> Connection:
        """Return the calling thread's connection."""
        local = self._local
        if getattr(local, "process", None) != os.getpid():
            # A connection that a fork has copied stays unused, and is kept: giving it up could
            # say goodbye on a socket that the parent goes on using.
            local.inherited = getattr(local, "connection", None)
            local.connection, local.process = self._connect(), os.getpid()
        connection: Connection = local.connection
        return connection


def connector(
    server: str, module: str, timeout: float, username: str | None, password: str | None
) -> Callable[[], Connection]:
    """Return what connects to ``server`` with the client library ``module``."""
    if module == "pylibmc":
        return lambda: Pylibmc(server, timeout, username, password)
    return lambda: PythonMemcached(server, timeout)
