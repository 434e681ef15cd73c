"""Requests and answers in memcached's binary protocol, as bytes. A server that wants a password
speaks no other protocol.

The functions are those of `beaker_regions.stores.memcached.text_protocol`. The layout of a header
is that of "Packet Structure" in memcached's description of the protocol.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable, Sequence

from beaker_regions.entries.known import Known
from beaker_regions.errors import StoreUnavailableError
from beaker_regions.stores.memcached.text_protocol import LONGEST_LINE, NO_NUMBER

_HEADER = struct.Struct(">BBHBxHIIQ")
"""Magic, command, size of the key, size of the extras, status, size of the body, a number that is
not used here, and the number of the item."""
_REQUEST, _ANSWER = 0x80, 0x81
_DELETE, _INCREMENT, _NOOP, _GET_QUIETLY, _STATISTICS, _SIGN_IN = 0x04, 0x05, 0x0A, 0x0D, 0x10, 0x21
"""A quiet get answers with the key, and only if there is an item."""
_STORE = {b"set": 0x01, b"cas": 0x01, b"add": 0x02}
_FLAGS = bytes(4)
"""The extras of an item of ours."""
_NEVER_MADE = 0xFFFFFFFF
"""The expiry with which an increment makes no item."""
_MEANINGS = {
    0x01: b"NOT_FOUND",
    0x02: b"EXISTS",
    0x03: b"SERVER_ERROR object too large",
    0x05: b"NOT_STORED",
    0x06: NO_NUMBER,
    0x82: b"SERVER_ERROR out of memory",
}
"""The words of the text protocol for a status."""


def _packet(
    command: int, key: bytes = b"", value: bytes = b"", extras: bytes = b"", number: int = 0
) -> bytes:
    size = len(extras) + len(key) + len(value)
    head = _HEADER.pack(_REQUEST, command, len(key), len(extras), 0, size, 0, number)
    return b"".join((head, extras, key, value))


_END = _packet(_NOOP)


def get_request(keys: Iterable[str]) -> bytes:
    return b"".join([*[_packet(_GET_QUIETLY, key.encode()) for key in keys], _END])


gets_request = get_request
"""Every answer has the numbers of the items."""


def store_request(command: bytes, key: str, value: bytes, exptime: int, number: int = 0) -> bytes:
    extras = _FLAGS + exptime.to_bytes(4)
    return _packet(_STORE[command], key.encode(), value, extras, number)


def delete_request(key: str) -> bytes:
    return _packet(_DELETE, key.encode())


def incr_request(key: str, amount: int) -> bytes:
    extras = struct.pack(">QQI", amount, 0, _NEVER_MADE)
    return _packet(_INCREMENT, key.encode(), extras=extras)


def read_answer(answer: bytes) -> tuple[bytes | None, int]:
    if len(answer) < _HEADER.size:
        return None, 0
    magic, command, key_size, extras, status, size, _, _ = _HEADER.unpack_from(answer)
    if magic != _ANSWER or size > LONGEST_LINE:
        raise ValueError(f"the server answers {answer[:80]!r}")
    end = _HEADER.size + size
    if len(answer) < end:
        return None, 0
    body = answer[_HEADER.size + extras + key_size : end]
    if status:
        return _MEANINGS.get(status, body), end
    if command == _INCREMENT:
        return b"%d" % int.from_bytes(body), end
    return b"DELETED" if command == _DELETE else b"STORED", end


def read_items(
    answer: bytes, at: int, found: dict[str, bytes], numbers: dict[str, bytes] | None = None
) -> tuple[int, int]:
    while True:
        start = at + _HEADER.size
        if len(answer) < start:
            return at, start - len(answer)
        magic, command, key_size, extras, status, size, _, number = _HEADER.unpack_from(answer, at)
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
        key = answer[key_at:value_at].decode()
        # Only bytes are ours; an item with flags is no record.
        found[key] = answer[value_at:end] if answer[start:key_at] == _FLAGS else b""
        if numbers is not None:
            # 0: the server does not number its items.
            numbers[key] = b"%d" % number if number else b""


def expect(known: Known) -> None:
    """Answers of this protocol are read each time."""


def expect_all(known: Sequence[Known]) -> tuple[bytes, bytes]:  # noqa: ARG001 - as in the text protocol
    """Return nothing: see `expect`."""
    return b"", b""


def sign_in(connection: socket.socket, username: str, password: str) -> None:
    """Sign in by the mechanism PLAIN (RFC 4616). Raises OSError, or StoreUnavailableError if the
    server refuses."""
    connection.sendall(_packet(_SIGN_IN, b"PLAIN", f"\0{username}\0{password}".encode()))
    status, _, explanation = _received_packet(connection, _SIGN_IN)
    if status:
        raise StoreUnavailableError("server", f"AUTHENTICATION FAILURE: {explanation[:80]!r}")


def statistics(connection: socket.socket, group: str) -> dict[str, str]:
    """Return the statistics of a group, by name; none if the server has no such group. Raises
    OSError."""
    connection.sendall(_packet(_STATISTICS, group.encode()))
    found: dict[str, str] = {}
    while True:
        status, name, value = _received_packet(connection, _STATISTICS)
        if status or not name:
            return found
        found[name.decode()] = value.decode()


def _received_packet(connection: socket.socket, command: int) -> tuple[int, bytes, bytes]:
    """Return status, key and value of the next answer, which is to ``command``."""
    header = _received(connection, _HEADER.size)
    magic, of_command, key_size, extras, status, size, _, _ = _HEADER.unpack(header)
    if magic != _ANSWER or of_command != command:
        raise StoreUnavailableError("server", "it does not speak the binary protocol")
    body = _received(connection, min(size, LONGEST_LINE))[extras:]
    return status, body[:key_size], body[key_size:]


def _received(connection: socket.socket, size: int) -> bytes:
    received = b""
    while len(received) < size:
        chunk = connection.recv(size - len(received))
        if not chunk:
            raise ConnectionResetError("the server closed the connection")
        received += chunk
    return received
