"""Reading a stream in a thread, ahead of its reader."""

from __future__ import annotations

import os
import threading
from queue import SimpleQueue
from typing import Protocol

from tasks.sources.archives.limits import STEP

_AHEAD = 4
"""Chunks that wait for the reader, of `STEP` bytes at most."""
_LEAST = STEP // 4
"""The fewest bytes of a chunk that is not the last one."""


class Readable(Protocol):
    """Unpacks a file while it is read."""

    def read(self, size: int, /) -> bytes:
        """Read up to ``size`` bytes; none only at the end."""

    def close(self) -> None:
        """End what runs for it. A read that waits for that ends, too."""


class ReadAhead:
    """Reads a stream while its reader works on what was read before. The modules that unpack
    release Python's lock, so both take place at the same time."""

    def __init__(self, stream: Readable) -> None:
        self._stream = stream
        self._process = os.getpid()
        self._done: SimpleQueue[bytes | Exception] = SimpleQueue()
        self._free = threading.Semaphore(_AHEAD)
        self._over = False
        self._latest: bytes | Exception | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def read(self) -> bytes:
        """Return the next bytes; none at the end. Raises the errors of the stream, from then on."""
        if not isinstance(self._latest, Exception) and self._latest != b"":
            self._latest = self._done.get()
            self._free.release()
        if isinstance(self._latest, Exception):
            raise self._latest
        return self._latest

    def close(self) -> None:
        """Stop, and leave the stream alone. In a process that was forked from the one that began,
        nothing is done: there is no thread, and the stream is the other one's."""
        if self._process == os.getpid():
            self._over = True
            self._stream.close()
            self._free.release()
            self._thread.join()

    def _run(self) -> None:
        while self._free.acquire() and not self._over:
            read, ends = self._step()
            if read:
                self._done.put(read)
            if ends is not None:
                self._done.put(ends)
                return

    def _step(self) -> tuple[bytes, bytes | Exception | None]:
        """Return what is read next, and what is to be said after it: nothing, the end, an error."""
        parts: list[bytes] = []
        size = 0
        while size < _LEAST:
            try:
                part = self._stream.read(STEP - size)
            except Exception as error:
                return b"".join(parts), error
            if not part:
                return b"".join(parts), b""
            parts.append(part)
            size += len(part)
        return b"".join(parts), None
