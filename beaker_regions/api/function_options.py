"""The options that the decorator gives one function."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from beaker_regions.config.options import eagerness, lifetime, seconds
from beaker_regions.entries.freshness import DEPENDS_ON, QUERIES, Policy, dependence
from beaker_regions.entries.tags import Tags
from beaker_regions.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class FunctionOptions:
    """The options as given. The methods raise ConfigurationError, with the function's name, for an
    option that cannot be used."""

    names: tuple[str, ...] = ()
    """Labels that distinguish functions of the same module and name."""
    tags: Tags = ()
    """Templates over the arguments (``"list:{list_id}"``), or a function of the arguments."""
    expire: float | timedelta | None = None
    """Seconds; None: the region's."""
    grace: float | timedelta | None = None
    """Seconds; None: the region's."""
    early: float | None = None
    """How eagerly a value is loaded again before it expires; None: the region's."""
    key: Callable[..., Any] | None = None
    """A function of the arguments. Its result is the key, instead of the arguments."""
    ignore: tuple[str, ...] = ()
    """Parameters that are not part of the key."""
    store_if: Callable[[Any], bool] | None = None
    """Whether a loaded value is worth storing."""
    version: int | str = 0
    """Values of another version are not used; invalidations reach the values of all versions."""
    warm: Callable[[], Iterable[Any]] | None = None
    """Returns the calls to load in advance, in the form that `many` takes; a call of a method has
    its object first (`beaker_regions.api.warming`)."""
    depends_on: str = "tags"
    """What ends the life of a value besides its expiry: "tags"; "queries", so what was read while
    it was loaded, and its tags; or nothing, "expiry"."""

    shared: bool = False
    """Whether no caller changes a value, so several may get the same object."""

    def policy(self, name: str, default: Policy) -> Policy:
        """Return the times of the function ``name``; ``default`` has those of its region."""
        expire = _checked(name, "expire", lifetime, self.expire, default.expire)
        try:
            depends_on = dependence(self.depends_on, expire, (*DEPENDS_ON, QUERIES))
        except ValueError as error:
            raise ConfigurationError(
                f"{name}: depends_on = {self.depends_on!r}: {error}"
            ) from error
        if not isinstance(self.shared, bool):
            raise ConfigurationError(f"{name}: shared = {self.shared!r}: give True or False")
        return Policy(
            expire=expire,
            grace=_checked(name, "grace", seconds, self.grace, default.grace),
            early=_checked(name, "early", eagerness, self.early, default.early),
            store_if=self.store_if,
            depends_on=depends_on,
            shared=self.shared,
        )

    def checked_warm(self, name: str) -> Callable[[], Iterable[Any]] | None:
        """Return ``warm``, a function without arguments."""
        if self.warm is None:
            return None
        try:
            inspect.signature(self.warm).bind()
        except TypeError as error:
            raise ConfigurationError(
                f"{name}: warm = {self.warm!r}: {error}; give a function without arguments that "
                f"returns the calls to load, such as lambda: [1, 2] or lambda: [(1, 'a')]"
            ) from error
        return self.warm


def _checked(
    name: str, option: str, check: Callable[[Any], float], value: object, default: float
) -> float:
    if value is None:
        return default
    try:
        return check(value)
    except ValueError as error:
        raise ConfigurationError(f"{name}: {option} = {value!r}: {error}") from error
