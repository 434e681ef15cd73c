"""Every error this library raises, under one base class."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

from beaker.exceptions import BeakerException

if TYPE_CHECKING:
    from collections.abc import Iterable


class CacheError(BeakerException):  # type: ignore[misc]
    """Base of every error of this library."""


class ConfigurationError(CacheError, ValueError):
    """A region, option or value that cannot be used; raised when the regions are configured."""


class UnkeyableArgumentError(CacheError, TypeError):
    """An argument of a cached function has no stable key."""


class NotContentError(CacheError, TypeError):
    """An iterator of something else than bytes was returned: it can be read once, by one caller."""


class StoreUnavailableError(CacheError):
    """A store did not do what it was asked: away, hung, full, or answering nonsense.

    Never reaches the caller of a cached function: the region counts it, logs it, and lets the
    function run. ``kind`` is the short name under which it is counted.
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class ContendedError(CacheError):
    """A value was changed by others as often as an update was tried."""


def nearest(name: str, valid: Iterable[str]) -> str:
    """Return a hint for a mistyped name: the nearest valid one, or all of them."""
    names = sorted(valid)
    close = get_close_matches(name, names, n=1)
    return f"did you mean {close[0]!r}?" if close else f"valid: {', '.join(names)}"
