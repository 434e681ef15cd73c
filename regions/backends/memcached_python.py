"""Memcached through python-memcached, the default."""

from __future__ import annotations

import re
import socket
import struct
from typing import TYPE_CHECKING, Any

import memcache

from regions.backends.memcached_connection import Connection, Item, NotANumber, added
from regions.errors import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_TIME = struct.Struct("ll")
"""Seconds and microseconds, as the system takes them."""
_RECEIVE = 64 * 1024
"""Bytes asked of a socket at once."""
_VALUE = re.compile(rb"VALUE ([^ ]+) (\d+) (\d+)(?: (\d+))?\r\n")
_END = b"END\r\n"
_TOO_LARGE = b"SERVER_ERROR object too large for cache"
_NO_MEMORY = b"SERVER_ERROR out of memory storing object"
_NO_NUMBER = b"CLIENT_ERROR cannot increment or decrement non-numeric value"
_STORED = {b"STORED": True, b"NOT_STORED": False, b"EXISTS": False, b"NOT_FOUND": False}


class _Refuse:
    """Stands where the library would unpickle or decompress what a server sent."""

    def __init__(self, *_: Any) -> None:
        raise ValueError("a value that this application did not store")


class _Socket(socket.socket):
    """A socket whose time-outs are the system's. With Python's own, each call is two to the
    system, with a pause for other threads in each."""

    def limit(self, seconds: float) -> None:
        """Let every later call take ``seconds`` at the most."""
        limit = _TIME.pack(int(seconds), max(1, int(seconds % 1 * 1e6)))
        self.settimeout(None)
        for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
            self.setsockopt(socket.SOL_SOCKET, option, limit)

    def recv(self, size: int, flags: int = 0) -> bytes:
        try:
            return super().recv(size, flags)
        except BlockingIOError:
            raise TimeoutError("timed out") from None

    def sendall(self, data: Any, flags: int = 0) -> None:
        try:
            super().sendall(data, flags)
        except BlockingIOError:
            raise TimeoutError("timed out") from None


class _Host(memcache._Host):  # type: ignore[misc]
    """A python-memcached server that remembers what it answered and why it failed."""

    answer = b""
    """The last line."""
    failure: object = None
    sent = 0
    """How often the current request was sent."""
    socket: _Socket | None

    def mark_dead(self, reason: object) -> None:
        self.failure = reason
        self.close_socket()

    def send_cmd(self, cmd: bytes) -> None:
        self.sent += 1
        super().send_cmd(cmd)

    def readline(self, raise_exception: bool = False) -> bytes:
        self.answer = super().readline(raise_exception)
        return self.answer

    def receive(self, size: int = 1) -> bytes:
        """Return what the server sends, ``size`` bytes at least."""
        chunks = []
        while size > 0:
            chunk = self.socket and self.socket.recv(max(_RECEIVE, size))
            if not chunk:
                raise ConnectionResetError("the server closed the connection")
            chunks.append(chunk)
            size -= len(chunk)
        return b"".join(chunks)

    def _get_socket(self) -> _Socket | None:
        # As the library's, which leaves a socket open that could not connect.
        if self.socket is None:
            self.failure = None
            fresh = _Socket(self.family, socket.SOCK_STREAM)
            try:
                fresh.settimeout(self.socket_timeout)
                fresh.connect(self.address)
                fresh.limit(self.socket_timeout)
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
        self._number = b""
        """The server's number of the item that was fetched last."""

    def get(self, keys: Sequence[str]) -> dict[str, bytes]:
        found: dict[str, bytes] = self._ask(self._get, b"get ", keys)
        return found

    def _get(self, command: bytes, keys: Sequence[str]) -> dict[str, bytes]:
        # What get_multi does, in half of its time: one read takes the whole answer.
        host = self._host
        found: dict[str, bytes] = {}
        if not host.connect():
            return found
        host.send_cmd(command + " ".join(keys).encode())
        answer, at = host.receive(), 0
        while not answer.startswith(_END, at):
            value = _VALUE.match(answer, at)
            if value is None:
                if answer.find(b"\r\n", at) >= 0:
                    raise ValueError(f"the server answers {answer[at : at + 80]!r}")
                answer += host.receive()
                continue
            key, flags, size, self._number = value.groups()
            start = value.end()
            end = start + int(size)
            at = end + len(b"\r\n")
            if len(answer) < at:
                answer += host.receive(at - len(answer))
            # Only bytes are ours; what else it may be is no record.
            found[key.decode()] = b"" if flags != b"0" else answer[start:end]
        return found

    def add(self, key: str, value: bytes, exptime: int) -> bool:
        self._ask(self._client.add, key, value, exptime)
        stored = self._answered({b"STORED": True, b"NOT_STORED": False})
        return added(stored, self._host.sent > 1)

    def set(self, key: str, value: bytes, exptime: int) -> bool:
        self._ask(self._client.set, key, value, exptime)
        return self._answered({b"STORED": True, _TOO_LARGE: False, _NO_MEMORY: False})

    def delete(self, key: str) -> None:
        self._ask(self._client.delete, key)
        self._answered({b"DELETED": True, b"NOT_FOUND": True})

    def incr(self, key: str, amount: int) -> int | None:
        self._ask(self._send, b"incr %b %d" % (key.encode(), amount))
        answer = self._host.answer
        if answer.isdigit():
            return int(answer)
        if answer == _NO_NUMBER:
            raise NotANumber(key)
        self._answered({b"NOT_FOUND": True})
        return None

    def gets(self, key: str) -> Item | None:
        found: dict[str, bytes] = self._ask(self._get, b"gets ", [key])
        if key not in found:
            return None
        if not self._number:
            raise StoreUnavailable("server", "it does not number its items")
        return Item(found[key], (int(self._number), self._host.socket))

    def cas(self, key: str, value: bytes, exptime: int, seen: Item | None) -> bool | None:
        host, what = self._host, (key.encode(), exptime, len(value))
        if seen is None:
            self._ask(self._send, b"add %b 0 %d %d\r\n%b" % (*what, value))
            sent_again = host.sent > 1
        else:
            number, connection = seen.token
            line = b"cas %b 0 %d %d %d\r\n%b" % (*what, number, value)
            if host.socket is not connection:
                return False
            self._ask(self._send, line, connection)
            sent_again = False
        if host.answer in (_TOO_LARGE, _NO_MEMORY):
            return None
        return added(self._answered(_STORED), sent_again)

    def _send(self, request: bytes, connection: object = None) -> None:
        """Send a request and read its answer of one line; on this connection only, if given."""
        host = self._host
        if connection is None:
            host.connect()
        if host.socket is not None:
            host.send_cmd(request)
            host.readline()

    def __del__(self) -> None:
        # Its thread has ended. The server is told nothing: after a fork the parent process may
        # go on using the connection.
        self._host.close_socket()

    def _ask(self, command: Callable[..., Any], *args: Any) -> Any:
        host = self._host
        kept, host.failure, host.sent = host.socket is not None, None, 0
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
