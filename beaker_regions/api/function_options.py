"""The options that the decorator gives one function."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from beaker_regions.config.options import Check, checked, eagerness, lifetime, seconds
from beaker_regions.entries.freshness import DEPENDS_ON, QUERIES, Policy, dependence
from beaker_regions.entries.tags import Tags
from beaker_regions.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class FunctionOptions:
    """The options as they are given to `CacheManager.region`, which describes them. The methods
    raise ConfigurationError, with the function's name, for an option that cannot be used."""

    names: tuple[str, ...] = ()
    tags: Tags = ()
    expire: float | timedelta | None = None
    grace: float | timedelta | None = None
    early: float | None = None
    key: Callable[..., Any] | None = None
    ignore: tuple[str, ...] = ()
    store_if: Callable[[Any], bool] | None = None
    version: int | str = 0
    warm: Callable[[], Iterable[Any]] | None = None
    depends_on: str = "tags"
    shared: bool = False

    def policy(self, name: str, default: Policy) -> Policy:
        """Return the times of the function ``name``; ``default`` has those of its region."""
        expire = _or(default.expire, name, "expire", lifetime, self.expire)

        def dependable(value: object) -> str:
            return dependence(value, expire, (*DEPENDS_ON, QUERIES))

        if not isinstance(self.shared, bool):
            raise ConfigurationError(f"{name}: shared = {self.shared!r}: give True or False")
        return Policy(
            expire=expire,
            grace=_or(default.grace, name, "grace", seconds, self.grace),
            early=_or(default.early, name, "early", eagerness, self.early),
            store_if=self.store_if,
            depends_on=checked(name, "depends_on", dependable, self.depends_on),
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


def _or(default: float, name: str, option: str, check: Check, value: object) -> float:
    """Return the checked value of an option; the default if it is None."""
    found: float = default if value is None else checked(name, option, check, value)
    return found
