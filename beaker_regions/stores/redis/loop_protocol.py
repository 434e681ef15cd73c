"""Requests of event loops for many keys, and the answers to them, of one connection."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable

from beaker_regions.entries.known import Known
from beaker_regions.errors import StoreUnavailableError
from beaker_regions.stores.redis import link
from beaker_regions.stores.redis.link import WHO, epoch_of, get_request, of_epoch

_LONGEST_LINE = 2048


class _IncompleteError(Exception):
    """So many bytes are missing, at least."""

    def __init__(self, missing: int) -> None:
        super().__init__(missing)
        self.missing = missing


class LoopProtocol:
    """As `beaker_regions.stores.memcached.text_protocol`, for one connection. The first request,
    and one in each `link.VERIFIED` seconds, also asks for the server's ids, after its values."""

    def __init__(self) -> None:
        self._asked: deque[tuple[list[str], bool]] = deque()
        """The keys of each request that is not answered, and whether it asks for the ids."""
        self._epoch = b""
        self._verify_at = 0.0

    def get_request(self, keys: Iterable[str]) -> bytes:
        names, now = list(keys), time.monotonic()
        is_due = now >= self._verify_at
        self._asked.append((names, is_due))
        if not is_due:
            return get_request(names)
        self._verify_at = now + link.VERIFIED
        return get_request(names) + WHO

    def expect(self, known: Known) -> None:
        """Do nothing: requests for the same keys differ, so no answer is known in advance."""

    def read_items(self, answer: bytes, at: int, found: dict[str, bytes]) -> tuple[int, int]:
        names, is_due = self._asked[0]
        try:
            count, end = _number(answer, at, b"*")
            if count != len(names):
                raise _unexpected(answer[at:])
            values = {}
            for name in names:
                values[name], end = _text(answer, end)
            if is_due:
                server, end = _text(answer, end)
                replication, end = _text(answer, end)
                self._epoch = epoch_of([server or b"", replication or b""])
        except _IncompleteError as error:
            return at, error.missing
        self._asked.popleft()
        found |= of_epoch(values.items(), self._epoch)
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
