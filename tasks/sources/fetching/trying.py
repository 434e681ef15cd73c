"""Repeats failed requests, with pauses."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from tasks.sources.fetching.errors import TemporaryError
from tasks.sources.fetching.patience import patience
from tasks.sources.fetching.urls import shown

if TYPE_CHECKING:
    from tasks.sources.progress import Progress

T = TypeVar("T")

FEW_TRIES = 1
"""How often a request is repeated for a page, since a visitor waits."""

_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 30.0
_LONGEST_WISH = 120.0
"""Seconds. If a server asks for a longer pause, the request fails."""
_ENOUGH = 64 * 1024
"""Bytes that have to arrive before a download gets all its tries again: a server that breaks off
after each few bytes is given up."""
_STEP = 0.1
"""Seconds between two checks whether the run has ended."""


@dataclass(slots=True)
class Tries:
    """The tries that are left for the request of a URL."""

    url: str
    left: int
    furthest: int = 0
    """The position that was reached when all tries were given."""
    failed: int = 0

    def reached(self, position: int) -> None:
        """Give all tries again, if a download has got much further."""
        if position - self.furthest >= _ENOUGH:
            self.furthest, self.failed = position, 0

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
        patience().say(
            f"{shown(self.url)}: {error}; another try in {pause:.1f} s "
            f"({self.failed} of {self.left})"
        )
        ends = time.monotonic() + pause
        while (left := ends - time.monotonic()) > 0:
            progress.advance(0)
            time.sleep(min(left, _STEP))


def until_done(
    url: str, request: Callable[[], T], progress: Progress, tries: int | None = None
) -> T:
    """Return the result of a request of a URL, which is repeated up to ``tries`` times; None: as
    often as the operator has chosen. Raises OSError."""
    left = Tries(url, patience().retries if tries is None else tries)
    while True:
        try:
            return request()
        except TemporaryError as error:
            left.pause(error, progress)
