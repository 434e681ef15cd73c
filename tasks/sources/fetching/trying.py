"""When a request that failed is made again."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from tasks.sources.fetching.client import Temporary

if TYPE_CHECKING:
    from tasks.sources.progress import Progress

T = TypeVar("T")

_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 30.0
_LONGEST_WISH = 120.0
"""Seconds; a server that wants to be left alone for longer is given up."""
_STEP = 0.1
"""Seconds between two checks whether the run has ended."""


@dataclass(slots=True)
class Tries:
    """How often something is tried once more, before it fails."""

    left: int
    failed: int = 0

    def pause(self, error: Temporary, progress: Progress) -> None:
        """Let some time pass before the next try: twice as much each time, and not the same for
        all who wait for one server; or what the server has asked for. Raises ``error`` when there
        is no try left, and what ``progress`` raises."""
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
    """Return what a request returns, made once more up to ``tries`` times. Raises OSError."""
    ahead = Tries(tries)
    while True:
        try:
            return request()
        except Temporary as error:
            ahead.pause(error, progress)
