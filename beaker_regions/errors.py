"""The errors of this library. All derive from `CacheError`."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

from beaker.exceptions import BeakerException


class CacheError(BeakerException):  # type: ignore[misc]
    """Base class of all errors of this library.

    Example::

        try:
            carts.update(user.pk, add_pears)
        except CacheError as error:
            logger.warning("not updated: %s", error)
    """


class ConfigurationError(CacheError, ValueError):
    """A region, an option or its value cannot be used. Raised while regions are configured."""


class UnkeyableArgumentError(CacheError, TypeError):
    """An argument of a cached function has no stable key."""


class NotContentError(CacheError, TypeError):
    """A cached function returned an iterator that yields no bytes. Only one caller can read it."""


class StoreUnavailableError(CacheError):
    """A store failed: it is unreachable, hangs, is full, or gives a wrong answer.

    The caller of a cached function never sees it: the region counts it, logs it, and runs the
    function. ``kind`` is the short name under which it is counted.
    """

    def __init__(self, kind: str, message: str) -> None:
        """Make the error.

        Args:
            kind: The short name under which it is counted.
            message: What went wrong, with the server or file.
        """
        super().__init__(message)
        self.kind = kind


class _OfKindError(StoreUnavailableError):
    """A failure of the one kind that its class stands for."""

    KIND: str

    def __init__(self, message: str) -> None:
        super().__init__(self.KIND, message)


class NotTakenError(_OfKindError):
    """A server works, but does not take this item: it is too large, or memory is full."""

    KIND = "not_taken"


class RowFullError(_OfKindError):
    """A region's row in a database has no room for its entries."""

    KIND = "full"


class UnpicklableError(_OfKindError):
    """A value cannot be pickled; ``__cause__`` is the error that pickle raised."""

    KIND = "unpicklable"


class ApplyingError(_OfKindError):
    """Another thread or process is applying the store's pending invalidations."""

    KIND = "applying"


class DependencyError(CacheError):
    """A cached function reads a table, and none of its tags belongs to the table's rows.

    Raised only with ``REGIONS_DEPENDENCIES=error``.
    """


class ContendedError(CacheError):
    """An update of a value was given up: others changed the value at every attempt."""


def nearest(name: str, valid: Iterable[str]) -> str:
    """Return a hint for a mistyped name: the nearest valid name, or all valid names."""
    names = sorted(valid)
    close = get_close_matches(name, names, n=1)
    return f"did you mean {close[0]!r}?" if close else f"valid: {', '.join(names)}"
