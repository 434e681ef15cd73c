"""The part of memcached's binary protocol that a coroutine's hit needs: a server that wants a
password speaks no other. Requests and answers are only bytes, of any connection.

The layout of a header is that of "Packet Structure" in memcached's description of the protocol.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from beaker_regions.errors import StoreUnavailableError

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterable

    from beaker_regions.entries.known import Known

_HEADER = struct.Struct(">BBHBxHIIQ")
"""Magic, command, size of the key, size of the extras, status, size of the body, and two numbers
that are not used here."""
_REQUEST, _ANSWER = 0x80, 0x81
_NOOP, _GET_QUIETLY, _SIGN_IN = 0x0A, 0x0D, 0x21
"""A quiet get answers with the key, and only if there is an item."""
_FLAGS = 4
"""Bytes: the extras of an item."""


def _packet(command: int, key: bytes = b"", value: bytes = b"") -> bytes:
    size = len(key) + len(value)
    return _HEADER.pack(_REQUEST, command, len(key), 0, 0, size, 0, 0) + key + value


_END = _packet(_NOOP)


def get_request(keys: Iterable[str]) -> bytes:
    """Return the request for the items under ``keys``."""
    return b"".join([*[_packet(_GET_QUIETLY, key.encode()) for key in keys], _END])


def read_items(answer: bytes, at: int, found: dict[str, bytes]) -> tuple[int, int]:
    """As `beaker_regions.stores.memcached.text_protocol.read_items`."""
    while True:
        start = at + _HEADER.size
        if len(answer) < start:
            return at, start - len(answer)
        magic, command, key_size, extras, status, size, _, _ = _HEADER.unpack_from(answer, at)
        end = start + size
        if magic != _ANSWER or command not in (_GET_QUIETLY, _NOOP):
            raise StoreUnavailableError("server", f"it answers {answer[at : at + 80]!r}")
        if len(answer) < end:
            return at, end - len(answer)
        key_at = start + extras
        value_at = key_at + key_size
        if status:
            raise StoreUnavailableError("server", f"it answers {answer[value_at:end][:80]!r}")
        at = end
        if command == _NOOP:
            return at, 0
        # Only bytes are ours; an item with flags is no record.
        is_ours = answer[start : start + _FLAGS] == bytes(_FLAGS)
        found[answer[key_at:value_at].decode()] = answer[value_at:end] if is_ours else b""


def expect(known: Known) -> None:
    """Answers of this protocol are read each time."""


def sign_in(connection: socket.socket, username: str, password: str) -> None:
    """Sign in by the mechanism PLAIN (RFC 4616). Raises OSError, or StoreUnavailableError if the
    server refuses."""
    connection.sendall(_packet(_SIGN_IN, b"PLAIN", f"\0{username}\0{password}".encode()))
    magic, command, _, _, status, size, _, _ = _HEADER.unpack(_received(connection, _HEADER.size))
    if magic != _ANSWER or command != _SIGN_IN:
        raise StoreUnavailableError("server", "it does not speak the binary protocol")
    explanation = _received(connection, min(size, _MOST))
    if status:
        raise StoreUnavailableError("server", f"AUTHENTICATION FAILURE: {explanation[:80]!r}")


_MOST = 1024
"""Bytes; the explanation of a refusal is shorter."""


def _received(connection: socket.socket, size: int) -> bytes:
    received = b""
    while len(received) < size:
        chunk = connection.recv(size - len(received))
        if not chunk:
            raise ConnectionResetError("the server closed the connection")
        received += chunk
    return received
