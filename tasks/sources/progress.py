"""The progress of reading one file: the bytes that are expected, and those that were read."""

from __future__ import annotations

from collections.abc import Callable

from tasks.sources.pace import keep_pace


class Progress:
    """Counts the bytes of one file, and passes every change on."""

    def __init__(
        self, size: int | None = None, report: Callable[[int, int], None] | None = None
    ) -> None:
        """Expect ``size`` bytes (None: not known). ``report`` is called with the bytes that were
        read and the bytes that were not expected; an exception of it ends the reading."""
        self._expected = size or 0
        self._read = 0
        self._report = report
        self.begun = False
        """Whether the source was opened to be read."""

    def advance(self, size: int) -> None:
        """Count ``size`` more bytes as read. 0 only asks whether the reading should end."""
        if size:
            keep_pace(size, self._ask)
        self._read += size
        self._change(size, max(0, self._read - self._expected))

    def expect(self, size: int) -> None:
        """Expect ``size`` bytes in all."""
        if size > self._expected:
            self._change(0, size - self._expected)

    @property
    def left(self) -> int:
        """Bytes that are expected and not read yet."""
        return self._expected - self._read

    def _ask(self) -> None:
        self._change(0, 0)

    def settle(self, left: int) -> None:
        """Take over the ``left`` bytes of a copy of it, whose changes were passed on already."""
        self._read = self._expected - left

    def _change(self, read: int, unexpected: int) -> None:
        self._expected += unexpected
        if self._report is not None:
            self._report(read, unexpected)
