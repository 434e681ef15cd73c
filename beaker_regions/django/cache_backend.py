"""Django's cache API on a region, for packages and projects that use it::

    CACHES = {
        "default": {
            "BACKEND": "beaker_regions.django.cache_backend.RegionCache",
            "LOCATION": "functions",
        }
    }

``LOCATION`` is a region's name. The methods are Django's. A region adds:

- Values are authenticated before they are unpickled.
- `add`, `incr`, `decr` and `touch` are atomic. `incr` and `decr` keep the time to live, and `touch`
  sets it, as memcached does.
- `get_many` is one round trip to each server.
- An unavailable store behaves like an empty one, and is logged. A key that could not be deleted is
  deleted before the store is read again.
- ``clear()`` removes the values of this API from the region, and no others.

As in all of Django's caches, a change takes effect at once, also inside a transaction.

The region limits the size (``size_limit`` of files, or the server's memory), so MAX_ENTRIES and
CULL_FREQUENCY are refused.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any

from asgiref.sync import sync_to_async
from django.core.cache.backends.base import DEFAULT_TIMEOUT, BaseCache

from beaker_regions.api.values import Values
from beaker_regions.django.manager import is_installed, region_named
from beaker_regions.entries.sentinels import MISSING
from beaker_regions.errors import ConfigurationError

NAME = "Django's cache API"
"""The name of its values in a region. Aliases of one region share them, as in Django's backends."""


class RegionCache(BaseCache):
    """A region as one of Django's caches: ``django.core.cache.caches["default"]``.

    Args:
        location: The region's name.
        params: TIMEOUT (seconds; default 300, None: never), KEY_PREFIX, VERSION and KEY_FUNCTION,
            as in Django. OPTIONS must be empty.

    Raises:
        ConfigurationError: There is no such region, its store cannot hold values, or OPTIONS is not
            empty.
    """

    def __init__(self, location: str, params: dict[str, Any]) -> None:
        super().__init__(params)
        for option in params.get("OPTIONS", {}):
            raise ConfigurationError(
                f"CACHES, LOCATION {location!r}: there is no option {option!r}; set the size "
                f"where the region is configured (size_limit, or the server's memory)"
            )
        self._location = location
        if is_installed():
            # A wrong name is an error here, and not only at the first call.
            self._values  # noqa: B018

    @cached_property
    def _values(self) -> Values[str, Any]:
        # Packages open their cache when their models are imported: before `use_manager` is called.
        try:
            return Values(region_named(self._location), NAME, math.inf)
        except ConfigurationError as error:
            mend = "" if self._location else "name a region; "
            raise ConfigurationError(
                f"CACHES, LOCATION {self._location!r}: {mend}{error}"
            ) from error

    def _life(self, timeout: Any) -> float:
        """Return the time to live in seconds; 0 or less: already expired."""
        if timeout is DEFAULT_TIMEOUT:
            timeout = self.default_timeout
        return math.inf if timeout is None else float(timeout)

    # -- one key ---------------------------------------------------------------------------

    def get(self, key: Any, default: Any = None, version: int | None = None) -> Any:
        return self._values.get(self.make_and_validate_key(key, version), default)

    def set(
        self, key: Any, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None
    ) -> None:
        self._set(key, value, timeout, version)

    def _set(self, key: Any, value: Any, timeout: Any, version: int | None) -> bool:
        """As `set`; returns whether the store was available."""
        made, life = self.make_and_validate_key(key, version), self._life(timeout)
        if life > 0:
            return self._values.set(made, value, life)
        self._values.delete(made)
        return True

    def add(
        self, key: Any, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None
    ) -> bool:
        made, life = self.make_and_validate_key(key, version), self._life(timeout)
        if life > 0:
            return self._values.add(made, value, life)
        return not self.has_key(key, version)

    def touch(self, key: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None) -> bool:
        life = self._life(timeout)
        if life <= 0:
            return self.delete(key, version)
        return self._values.touch(self.make_and_validate_key(key, version), life)

    def delete(self, key: Any, version: int | None = None) -> bool:
        made = self.make_and_validate_key(key, version)
        found = self._values.get(made, MISSING) is not MISSING
        self._values.delete(made)
        return found

    def incr(self, key: Any, delta: int = 1, version: int | None = None) -> int:
        made = self.make_and_validate_key(key, version)

        def add(value: Any) -> Any:
            if value is MISSING:
                raise _not_found(key)
            return value + delta

        added: int | None = self._values.update(made, add, default=MISSING)
        if added is None:
            # An unavailable store behaves like an empty one.
            raise _not_found(key)
        return added

    # -- many keys -------------------------------------------------------------------------

    def get_many(self, keys: Iterable[Any], version: int | None = None) -> dict[Any, Any]:
        wanted = {self.make_and_validate_key(key, version): key for key in keys}
        return {wanted[made]: value for made, value in self._values.get_many(wanted).items()}

    def set_many(
        self, data: Mapping[Any, Any], timeout: Any = DEFAULT_TIMEOUT, version: int | None = None
    ) -> list[Any]:
        return [key for key, value in data.items() if not self._set(key, value, timeout, version)]

    def delete_many(self, keys: Iterable[Any], version: int | None = None) -> None:
        for made in [self.make_and_validate_key(key, version) for key in keys]:
            self._values.delete(made)

    def clear(self) -> None:
        self._values.clear()

    # -- asynchronous: methods that Django makes of several steps ---------------------------

    async def aincr(self, key: Any, delta: int = 1, version: int | None = None) -> int:
        return await sync_to_async(self.incr)(key, delta, version)

    async def aget_many(self, keys: Iterable[Any], version: int | None = None) -> dict[Any, Any]:
        return await sync_to_async(self.get_many)(list(keys), version)

    async def aset_many(
        self, data: Mapping[Any, Any], timeout: Any = DEFAULT_TIMEOUT, version: int | None = None
    ) -> list[Any]:
        return await sync_to_async(self.set_many)(data, timeout, version)

    async def adelete_many(self, keys: Iterable[Any], version: int | None = None) -> None:
        await sync_to_async(self.delete_many)(list(keys), version)


def _not_found(key: Any) -> ValueError:
    return ValueError(f"Key {key!r} not found")
