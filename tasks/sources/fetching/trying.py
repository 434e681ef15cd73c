"""Repeats failed requests, with pauses."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from tasks.sources.fetching.client import TemporaryError

if TYPE_CHECKING:
    from tasks.sources.progress import Progress

T = TypeVar("T")

_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 30.0
_LONGEST_WISH = 120.0
"""Seconds. If a server asks for a longer pause, the request fails."""
_STEP = 0.1
"""Seconds between two checks whether the run has ended."""


@dataclass(slots=True)
class Tries:
    """The tries that are left for a request."""

    left: int
    failed: int = 0

    def pause(self, error: TemporaryError, progress: Progress) -> None:
        """Wait before the next try: for the time that the server has asked for, or for a random
        time that doubles with each try. Raises ``error`` if no try is left, and the errors of
        ``progress``."""
        self.failed += 1
        wished = error.after or 0.0
        if self.failed > self.left or wished > _LONGEST_WISH:
            raise error
        usual = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2 ** (self.failed - 1))
        pause = random.uniform(usual / 2, usual) if error.after is None else wished
        ends = time.monotonic() + pause
        while (left := ends - time.monotonic()) > 0:
            progress.advance(0)
            time.sleep(min(left, _STEP))


def until_done(request: Callable[[], T], tries: int, progress: Progress) -> T:
    """Return the result of a request, which is repeated up to ``tries`` times. Raises OSError."""
    left = Tries(tries)
    while True:
        try:
            return request()
        except TemporaryError as error:
            left.pause(error, progress)
