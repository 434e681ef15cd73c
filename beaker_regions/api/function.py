"""The cached form of a function: it is called as before, and can be invalidated and refreshed."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar, overload

from beaker_regions.api.cached import arguments
from beaker_regions.api.stored import Stored
from beaker_regions.engine import loading
from beaker_regions.engine.drivers import run
from beaker_regions.entries.entry import Entry, Lookup
from beaker_regions.entries.sentinels import MISSING
from beaker_regions.telemetry import tracing

P = ParamSpec("P")
Q = ParamSpec("Q")
R = TypeVar("R")
S = TypeVar("S")


class CachedFunction(Stored[P, R], Generic[P, R]):
    """A function whose results are stored in a region. `CacheManager.region` makes it.

    It is called as the function itself, and works as a method. `CacheManager.region` has an
    example. If the store is unavailable, a call runs the function.
    """

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Return the stored value, or load it.

        One caller in the whole cluster loads; the others wait for its value.

        Args:
            *args: The arguments of the function.
            **kwargs: The arguments of the function.

        Returns:
            The value. In a region of files, returned content is a `CachedFile`.

        Raises:
            UnkeyableArgumentError: An argument has no stable key.
            Exception: That of the function, if no stale value may be served instead.
        """
        region = self.region
        call = self._prefix + args
        if not region.enabled:
            return region.store.pass_through(self._function(*call, **kwargs))  # type: ignore[no-any-return]
        if not tracing.watchers:  # without the cost of a block: this is every hit
            entry = self._entry(call, kwargs)
            lookup = self._lookup(entry)
            value = self._value_if_fresh(entry, lookup, self._policy)
            if value is MISSING or lookup is None:
                return self._loaded(entry, lookup, call, kwargs)
            self._stats.hit(entry, lookup, value)
            return value  # type: ignore[no-any-return]
        with tracing.call(region.name, self.name):
            entry = self._entry(call, kwargs)
            return self._value(entry, self._lookup(entry), call, kwargs)

    def many(self, calls: Iterable[Any]) -> list[R]:
        """Return the values of many calls, in their order.

        Stored values are fetched in one round trip to each server. The others are loaded.

        Args:
            calls: The calls. Each is the tuple of its arguments, or its only argument if that is
                not a tuple.

        Returns:
            One value for each call.

        Raises:
            UnkeyableArgumentError: An argument has no stable key.
            Exception: That of the function, if no stale value may be served instead.

        Example::

            first, second = tasks_of.many([1, 2])
        """
        region = self.region
        given = [self._prefix + arguments(call) for call in calls]
        if not region.enabled:
            return [region.store.pass_through(self._function(*call)) for call in given]
        with tracing.call(region.name, self.name, len(given)):
            entries = [self._entry(call, {}) for call in given]
            return [
                self._value(entry, lookup, call, {})
                for entry, lookup, call in zip(
                    entries, self._lookup_many(entries), given, strict=True
                )
            ]

    def beside(
        self, others: Sequence[Entry], *args: P.args, **kwargs: P.kwargs
    ) -> tuple[R, list[Lookup | None]]:
        """Return the value of a call, and look up other entries of the region with it.

        Args:
            others: Entries that are looked up in the same round trip.
            *args: The arguments of the call.
            **kwargs: The arguments of the call.

        Returns:
            The value, and one lookup for each other entry. If the value had to be loaded, the
            list is empty: lookups from before the load may be stale after it.

        Raises:
            UnkeyableArgumentError: An argument has no stable key.
        """
        region = self.region
        call = self._prefix + args
        if not region.enabled:
            return self(*args, **kwargs), []
        with tracing.call(region.name, self.name):
            entry = self._entry(call, kwargs)
            lookup, *seen = self._lookup_many([entry, *others])
            value = self._value_if_fresh(entry, lookup, self._policy)
            if value is MISSING:
                return self._value(entry, lookup, call, kwargs), []
            return self._hit(entry, lookup, value), seen

    def _value(
        self, entry: Entry, lookup: Lookup | None, call: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> R:
        value = self._value_if_fresh(entry, lookup, self._policy)
        if value is MISSING:
            return self._loaded(entry, lookup, call, kwargs)
        return self._hit(entry, lookup, value)  # type: ignore[no-any-return]

    def _loaded(
        self, entry: Entry, lookup: Lookup | None, call: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> R:
        return run(self._load_flow(entry, lookup), self._load(call, kwargs))  # type: ignore[no-any-return]

    def _load(self, call: tuple[Any, ...], kwargs: dict[str, Any]) -> Callable[[], Any]:
        """Return the function with its arguments, as a load runs it."""
        load = functools.partial(self._function, *call, **kwargs)
        return load if self._dependents is None else self._dependents.dependent(load)

    def refresh(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run the function, store its value and return it (write-through).

        Args:
            *args: The arguments of the function.
            **kwargs: The arguments of the function.

        Returns:
            The new value.

        Raises:
            Exception: That of the function.

        Example::

            tasks_of.refresh(1)
        """
        call = self._prefix + args
        if not self.region.enabled:
            return self.region.store.pass_through(self._function(*call, **kwargs))  # type: ignore[no-any-return]
        flow = self._refresh_flow(self._entry(call, kwargs))
        with tracing.call(self.region.name, self.name, 0):
            return run(flow, self._load(call, kwargs))  # type: ignore[no-any-return]

    def fill(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Return the stored value, or load it without regard to other callers that load it.

        It saves the lease, by which one caller loads for all. Use it to fill a region with values
        that nobody has asked for yet.

        Args:
            *args: The arguments of the function.
            **kwargs: The arguments of the function.

        Returns:
            The value.

        Raises:
            UnkeyableArgumentError: An argument has no stable key.
            Exception: That of the function.

        Example::

            for number in range(1000):
                tasks_of.fill(number)
        """
        if not self.region.enabled or self._dependents is not None:
            return self(*args, **kwargs)
        entry, lookup = self._lookup_for_load(args, kwargs)
        value = self._value_if_fresh(entry, lookup, self._policy)
        if value is not MISSING:
            return self._hit(entry, lookup, value)  # type: ignore[no-any-return]
        return self._filled(entry, lookup, args, kwargs)

    def reload(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run the function, store its value and return it, without invalidating the stored one.

        The stored value is served until the new one takes its place, and stays if the function
        fails. This is for a value that cannot be wrong, because the arguments name its version, and
        that may be damaged. Use `refresh` for a value that may be wrong.

        Args:
            *args: The arguments of the function.
            **kwargs: The arguments of the function.

        Returns:
            The new value.

        Raises:
            UnkeyableArgumentError: An argument has no stable key.
            Exception: That of the function.

        Example::

            scan_of.reload("invoice.pdf", version)
        """
        if not self.region.enabled or self._dependents is not None:
            return self.refresh(*args, **kwargs)
        entry, lookup = self._lookup_for_load(args, kwargs)
        return self._filled(entry, lookup, args, kwargs)

    def _lookup_for_load(
        self, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[Entry, Lookup | None]:
        entry = self._entry(self._prefix + args, kwargs)
        return entry, self.region.lookup(entry, self.region.store.read_for_load)

    def _filled(
        self,
        entry: Entry,
        lookup: Lookup | None,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> R:
        with tracing.call(self.region.name, self.name, 0):
            flow = loading.fill(self.region, entry, lookup, self._policy)
            return run(flow, self._load(self._prefix + args, kwargs))  # type: ignore[no-any-return]

    def uncached(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function itself. Nothing is looked up or stored.

        Args:
            *args: The arguments of the function.
            **kwargs: The arguments of the function.

        Returns:
            The value that the function returns.

        Raises:
            Exception: That of the function.

        Example::

            assert tasks_of.uncached(1) == tasks_of(1)
        """
        return self._function(*self._prefix, *args, **kwargs)  # type: ignore[no-any-return]

    def invalidate(self, *args: P.args, **kwargs: P.kwargs) -> None:
        """Invalidate one call: no read that starts afterwards returns a value from before.

        Inside a database transaction this happens at the commit.

        Args:
            *args: The arguments of the call.
            **kwargs: The arguments of the call.

        Raises:
            UnkeyableArgumentError: An argument has no stable key.

        Example::

            tasks_of.invalidate(1)
        """
        self._invalidate(args, kwargs)

    def discard(self, *args: P.args, **kwargs: P.kwargs) -> None:
        """Remove the stored value of one call, to free its room.

        This is for a value that cannot be wrong, because the arguments name its version, and that
        nobody needs any more. A load that is under way may store it again, so use `invalidate` for
        a value that may be wrong. Discarding happens at once, even inside a transaction, and never
        reaches another call; in a files region with very many entries, invalidating one may.

        Args:
            *args: The arguments of the call.
            **kwargs: The arguments of the call.

        Raises:
            UnkeyableArgumentError: An argument has no stable key.

        Example::

            scan_of.discard("invoice.pdf", version)
        """
        self.region.discard(self._entry(self._prefix + args, kwargs))

    def invalidate_all(self) -> None:
        """Invalidate every call of the function, with one write.

        Example::

            tasks_of.invalidate_all()
        """
        self._invalidate_all()

    @overload
    def __get__(
        self: CachedFunction[Concatenate[type[S], Q], R], instance: Any, owner: type[S]
    ) -> CachedFunction[Q, R]: ...
    @overload
    def __get__(self, instance: None, owner: Any) -> CachedFunction[P, R]: ...
    @overload
    def __get__(
        self: CachedFunction[Concatenate[S, Q], R], instance: S, owner: Any
    ) -> CachedFunction[Q, R]: ...
    def __get__(self, instance: Any, owner: Any) -> Any:
        return self._bind(instance, owner)
