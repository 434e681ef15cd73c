"""Answers of a store that this process has had before.

A record that is byte for byte the one that this process has opened before is authentic, and is
current under the same generations. So it is opened once, however often it is read. Its value is
handed out again if nobody can change it, or if the author of the function promises not to.

**Why no read is stale.** An answer counts as known only when the store has just given the same
bytes again, in answer to the same request. The expiry is checked at each read.

An answer is kept when its entry is read for the second time. Many entries are read once, as by a
job that goes through all of them: they take no memory, and push out no others. (Einziger and
others, "TinyLFU", 2017, call this a doorkeeper.)
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any, Self

from beaker_regions.entries.entry import Entry, Lookup
from beaker_regions.entries.records import Codec, Record, inflated, loader_of, parted
from beaker_regions.entries.sentinels import MISSING
from beaker_regions.entries.unchangeable import size_if_unchangeable
from beaker_regions.runtime import forking

MOST_BYTES = 16 << 20
"""The memory of a process that the known answers of one store may take, about."""
_LARGEST = 16
"""An answer may take this part of it."""
_OVERHEAD = 2000
"""Bytes that an answer takes besides its record: objects, keys, places in dictionaries."""
_GROWTH = 8
"""Times that an unpickled value is larger than its pickle, about, where its size is unknown."""
READ = 8192
"""Entries that are remembered as read once: about as many as there may be answers."""

COPIED = 4096
"""Bytes. Of longer bytes each caller gets a copy, which takes less time than their memory is worth.
"""


class Known(Lookup):
    """The lookup of a current record that the store has given before. Each further lookup that
    finds the same bytes returns this same object."""

    record: Record
    entry: Entry
    sealed: bytes
    """The record's bytes."""
    size: int
    """The bytes of its payload."""
    value: Any
    """The value to hand out; MISSING: each caller needs a copy of its own."""
    load: Callable[[], Any]
    """Returns such a copy. Raises what unpickling raises."""
    request: bytes
    """The request for it; empty: it has not been put together."""
    answer: bytes
    """The server's answer to that request."""
    most: int
    """Bytes to read of an answer at first: one more than it has, since nothing may follow it."""
    keys: Sequence[str]
    """Of the record, and of its generations; empty: they were not asked for alone."""
    server: Any
    """The server to ask."""
    version: Any
    """What distinguishes the file that has it from every other one; None: it was not noted."""
    is_settled: bool
    """Whether `value` is decided."""
    _is_repeated: bool
    _inflated: Record | None
    _answers: KnownAnswers
    _bytes: int

    @classmethod
    def of(
        cls,
        lookup: Lookup,
        entry: Entry,
        sealed: bytes,
        answers: KnownAnswers,
        load: Callable[[], Any] | None,
    ) -> Self:
        known = cls._make(lookup)
        known.entry, known.sealed = entry, sealed
        known.value, known.is_settled = MISSING, True
        known.request = known.answer = b""
        known.keys, known.version = (), None
        known._is_repeated, known._inflated = False, None
        payload = known.record.payload
        known.size = len(parted(payload)[1] if known.record.codec is Codec.CONTENT else payload)
        known.load = load or loader_of(known.record)
        known._answers, known._bytes = answers, _OVERHEAD + len(sealed)
        return known

    def _replace(self, **fields: Any) -> Lookup:  # type: ignore[override]
        return Lookup(*self)._replace(**fields)

    def repeat(self) -> None:
        """Note that the store has given it again: it is worth more work, and more memory."""
        if not self._is_repeated:
            self._is_repeated, self.is_settled = True, False

    def ask_at(self, server: Any, keys: Sequence[str]) -> None:
        """Set the server that has it, and its keys there."""
        self.server, self.keys = server, keys

    def items(self) -> dict[str, bytes]:
        """Return the record and the generations, by their keys."""
        return dict(zip(self.keys, (self.sealed, *self.record.generations), strict=True))

    def expect(self, request: bytes, answer: bytes) -> None:
        """Set the request for it, and the answer that gives it again."""
        if not self.request and self._answers.grow(self, len(request) + len(answer)):
            self.answer, self.most = answer, len(answer) + 1
            self.request = request  # the last, since another thread may read it

    @property
    def whole_record(self) -> Record:
        """The record, inflated if that is known."""
        return self._inflated or self.record

    def settle(self, value: Any, *, shared: bool) -> None:
        """Decide what the next callers get: this value if nobody changes it, else a copy each.
        ``shared``: the author of the function promises not to change it."""
        self.is_settled = True
        record = inflated(self.record)
        if record.codec is Codec.BYTES and len(record.payload) > COPIED:
            return
        size = size_if_unchangeable(value)
        if size is None and shared:
            size = _GROWTH * len(record.payload)
        if size is not None and self._answers.grow(self, size):
            self.value = value
        elif record is not self.record and self._answers.grow(self, len(record.payload)):
            self._inflated, self.load = record, loader_of(record)


class KnownAnswers:
    """The known answers of one store, those that were asked for last, by the entry's address."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most_bytes = most_bytes
        self.recent: dict[bytes, Known] = {}
        """Those asked for since the last time that this filled one half of the memory."""
        self._older: dict[bytes, Known] = {}
        self._bytes = 0
        """Of the recent ones."""
        self._read: set[bytes] = set()
        """The addresses of entries that were read, and may not have been read again."""
        self.after_fork()
        forking.register(self)

    def after_fork(self) -> None:
        self._lock = threading.RLock()  # a signal handler may call a cached function too

    @property
    def size(self) -> int:
        """The bytes of memory that they take, about."""
        return sum(each._bytes for each in (*self.recent.values(), *self._older.values()))

    def find(self, entry: Entry) -> Known | None:
        """Return the known answer of an entry."""
        known = self.recent.get(entry.address)
        if known is None:
            known = self._older.get(entry.address)
            if known is None:
                return None
            self._add(known)
        # With other tags, for example, the same call has other generations.
        return known if known.entry is entry or known.entry == entry else None

    def keep(
        self,
        lookup: Lookup,
        entry: Entry,
        sealed: bytes,
        load: Callable[[], Any] | None = None,
    ) -> None:
        """Keep a current lookup that the store has given, unless it is the first one of its entry.
        One whose value lies in parts is too large. ``load`` returns its value, if only the store
        can."""
        if lookup.record is None or lookup.record.codec is Codec.PARTS:
            return
        if not self._was_read(entry.address):
            return
        known = Known.of(lookup, entry, sealed, self, load)
        if known._bytes <= self._most_bytes // _LARGEST:
            self._add(known)

    def _was_read(self, address: bytes) -> bool:
        """Whether an entry was read before, lately. From now on it was."""
        if address in self._read:
            return True
        if len(self._read) >= READ:
            self._read.clear()
        self._read.add(address)
        return False

    def grow(self, known: Known, size: int) -> bool:
        """Let an answer take more memory; False: that is too much."""
        with self._lock:
            if known._bytes + size > self._most_bytes // _LARGEST:
                return False
            known._bytes += size
            if self.recent.get(known.entry.address) is known:
                self._bytes += size
                self._make_room()
        return True

    def _add(self, known: Known) -> None:
        with self._lock:
            former = self.recent.get(known.entry.address)
            self._bytes += known._bytes - (former._bytes if former is not None else 0)
            self.recent[known.entry.address] = known
            self._older.pop(known.entry.address, None)
            self._make_room()

    def _make_room(self) -> None:
        if self._bytes > self._most_bytes // 2:
            self._older, self.recent, self._bytes = self.recent, {}, 0
