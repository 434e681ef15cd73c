"""How patient an import is with servers, and who hears of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

SLOW_SECONDS = 30.0
"""For as long a transfer may be slower than it should be."""


def _say_nothing(line: str) -> None:
    """Nobody listens."""


@dataclass(frozen=True, slots=True)
class Patience:
    """The operator's choice for one run."""

    retries: int = 5
    """How often a request is repeated after a temporary failure. A download gets all
    its tries again whenever 64 KB more of it have arrived."""
    slowest: int = 1024
    """Bytes a second. A transfer that is slower for `SLOW_SECONDS` is broken off, and continued by
    another request."""
    say: Callable[[str], None] = _say_nothing
    """Is called with a line for each failure after which there is another try."""


_patience = Patience()


def patience() -> Patience:
    """Return the choice that holds now."""
    return _patience


def use_patience(chosen: Patience) -> None:
    """Let a choice hold from now on, in this process and those that are forked from it."""
    global _patience
    _patience = chosen
