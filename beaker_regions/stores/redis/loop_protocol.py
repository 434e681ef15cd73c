"""Requests of event loops for many keys, and the answers to them, of one connection.

A node of a Redis Cluster takes a request only for keys of one hash slot. So the keys of each hash
tag are a request of their own, and all of them are sent together. A node refuses a slot that it
does not have, or that is moving: its keys count as `ELSEWHERE`.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable

from beaker_regions.entries.known import Known
from beaker_regions.errors import StoreUnavailableError
from beaker_regions.stores.redis import link
from beaker_regions.stores.redis.link import WHO, epoch_of, get_request, of_epoch
from beaker_regions.stores.servers.loop_connection import ELSEWHERE

_LONGEST_LINE = 2048


class _IncompleteError(Exception):
    """So many bytes are missing, at least."""

    def __init__(self, missing: int) -> None:
        super().__init__(missing)
        self.missing = missing


class LoopProtocol:
    """As `beaker_regions.stores.memcached.text_protocol`, for one connection. The first request,
    and one in each `link.VERIFIED` seconds, also asks for the server's ids, after its values."""

    def __init__(self, *, in_cluster: bool = False) -> None:
        self._in_cluster = in_cluster
        self._asked: deque[tuple[list[list[str]], bool]] = deque()
        """The keys of each request that is not answered, by hash tag, and whether it asks for the
        ids."""
        self._epoch = b""
        self._verify_at = 0.0

    def get_request(self, keys: Iterable[str]) -> bytes:
        groups, now = self._groups(keys), time.monotonic()
        is_due = now >= self._verify_at
        self._asked.append((groups, is_due))
        request = b"".join(map(get_request, groups))
        if not is_due:
            return request
        self._verify_at = now + link.VERIFIED
        return request + WHO

    def _groups(self, keys: Iterable[str]) -> list[list[str]]:
        if not self._in_cluster:
            return [list(keys)]
        groups: dict[str, list[str]] = {}
        for key in keys:
            groups.setdefault(key.partition("}")[0], []).append(key)
        return list(groups.values())

    def expect(self, known: Known) -> None:
        """Do nothing: requests for the same keys differ, so no answer is known in advance."""

    def read_items(self, answer: bytes, at: int, found: dict[str, bytes]) -> tuple[int, int]:
        groups, is_due = self._asked[0]
        values: dict[str, bytes | None] = {}
        elsewhere: list[str] = []
        end = at
        try:
            for names in groups:
                if self._in_cluster and answer.startswith(b"-", end):
                    elsewhere += names
                    _, end = _line(answer, end)
                    continue
                count, end = _number(answer, end, b"*")
                if count != len(names):
                    raise _unexpected(answer[at:])
                for name in names:
                    values[name], end = _text(answer, end)
            if is_due:
                server, end = _text(answer, end)
                replication, end = _text(answer, end)
                ids = [server or b"", replication or b""]
                self._epoch = epoch_of(ids, in_cluster=self._in_cluster)
        except _IncompleteError as error:
            return at, error.missing
        self._asked.popleft()
        found |= of_epoch(values.items(), self._epoch)
        if elsewhere:
            found |= dict.fromkeys(elsewhere, ELSEWHERE)
            self._verify_at = 0.0  # a replica refuses everything, until it becomes the master
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
    line, end = _line(answer, at)
    if not line.startswith(sign):
        raise _unexpected(line)
    return int(line[1:]), end


def _line(answer: bytes, at: int) -> tuple[bytes, int]:
    end = answer.find(b"\r\n", at)
    if end < 0:
        if len(answer) - at > _LONGEST_LINE:
            raise _unexpected(answer[at:])
        raise _IncompleteError(1)
    return answer[at:end], end + 2


def _unexpected(answer: bytes) -> StoreUnavailableError:
    return StoreUnavailableError("server", f"it answers {answer[:80]!r}")
