"""Requests of event loops for many keys, and the answers to them: only bytes, of any connection.

An answer names neither its keys nor the epoch of its server. So each request also lets the server
repeat the keys, and asks for its ids (`beaker_regions.stores.redis.link`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from beaker_regions.errors import StoreUnavailableError
from beaker_regions.stores.redis.link import WHO, epoch_of, of_epoch, packed

if TYPE_CHECKING:
    from collections.abc import Iterable

    from beaker_regions.entries.known import Known

_LONGEST_LINE = 2048


class _IncompleteError(Exception):
    """So many bytes are missing, at least."""

    def __init__(self, missing: int) -> None:
        super().__init__(missing)
        self.missing = missing


def get_request(keys: Iterable[str]) -> bytes:
    """Return the request for the values under ``keys``."""
    names = [key.encode() for key in keys]
    return packed(b"ECHO", b" ".join(names)) + WHO + packed(b"MGET", *names)


def expect(known: Known) -> None:
    """Expect no known answer: each one holds the server's uptime."""


def read_items(answer: bytes, at: int, found: dict[str, bytes]) -> tuple[int, int]:
    """Read the values of an answer that begins at ``at`` into ``found``, by key. Returns where the
    rest begins, and 0; or ``at``, and how many more bytes are needed, at least. Raises
    StoreUnavailableError for anything else."""
    try:
        end = at
        heads = []
        for _ in range(3):
            head, end = _text(answer, end)
            heads.append(head or b"")
        keys = heads[0].decode().split(" ")
        count, end = _number(answer, end, b"*")
        if count != len(keys):
            raise _unexpected(answer[at:])
        values = {}
        for key in keys:
            values[key], end = _text(answer, end)
    except _IncompleteError as error:
        return at, error.missing
    found |= of_epoch(values.items(), epoch_of(heads[1:]))
    return end, 0


def _text(answer: bytes, at: int) -> tuple[bytes | None, int]:
    size, start = _number(answer, at, b"$")
    if size < 0:
        return None, start
    end = start + size
    if len(answer) < end + 2:
        raise _IncompleteError(end + 2 - len(answer))
    return answer[start:end], end + 2


def _number(answer: bytes, at: int, sign: bytes) -> tuple[int, int]:
    end = answer.find(b"\r\n", at)
    if end < 0:
        if len(answer) - at > _LONGEST_LINE:
            raise _unexpected(answer[at:])
        raise _IncompleteError(1)
    if answer[at : at + 1] != sign:
        raise _unexpected(answer[at:end])
    return int(answer[at + 1 : end]), end + 2


def _unexpected(answer: bytes) -> StoreUnavailableError:
    return StoreUnavailableError("server", f"it answers {answer[:80]!r}")
