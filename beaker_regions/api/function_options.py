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
