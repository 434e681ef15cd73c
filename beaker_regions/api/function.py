"""The cached form of a function: it is called as before, and can be invalidated and refreshed."""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable
from types import MethodType
from typing import (
    TYPE_CHECKING,
    Any,
    Concatenate,
    Generic,
    ParamSpec,
    Self,
    TypeVar,
    overload,
)

from beaker_regions.api.naming import is_same, name_of, replaces
from beaker_regions.api.stored_value import stored_value
from beaker_regions.engine import loading
from beaker_regions.engine.dependencies import QueryDependents
from beaker_regions.engine.drivers import run
from beaker_regions.engine.invalidation import refuse_django
from beaker_regions.entries.entry import (
    Entry,
    address_of,
    entry_scope,
    function_scope,
    region_scope,
)
from beaker_regions.entries.families import clear_at_change
from beaker_regions.entries.freshness import QUERIES
from beaker_regions.entries.keys import Binder, encode, encode_apart, is_plain, plain_types
from beaker_regions.entries.sentinels import MISSING
from beaker_regions.entries.tags import TagMaker
from beaker_regions.errors import ConfigurationError, UnkeyableArgumentError
from beaker_regions.telemetry import tracing

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from beaker_regions.api.function_options import FunctionOptions
    from beaker_regions.api.stored_value import StoredValue
    from beaker_regions.engine.drivers import LoadFlow
    from beaker_regions.engine.region import Region
    from beaker_regions.entries.entry import Lookup
    from beaker_regions.entries.freshness import Policy

P = ParamSpec("P")
Q = ParamSpec("Q")
R = TypeVar("R")
S = TypeVar("S")


REMEMBERED = 1024
"""Calls of one function whose entries are remembered: the latest ones with plain arguments."""


class _BoundSignature:
    """The signature that `inspect.signature` finds for a bound method: without ``self``."""

    def __get__(self, cached: Cached[Any] | None, owner: Any) -> inspect.Signature:
        if cached is None or not cached._prefix:
            raise AttributeError("__signature__")
        return inspect.signature(MethodType(cached._function, cached._prefix[0]))


class Cached(Generic[P]):
    """The part that `CachedFunction` and `AsyncCachedFunction` have in common."""

    __name__: str
    __qualname__: str
    __signature__ = _BoundSignature()

    def __init__(
        self,
        region: Region,
        function: Callable[..., Any],
        options: FunctionOptions,
        default: Policy,
    ) -> None:
        # First, since a function that wraps a decorated one carries the attributes of that one.
        functools.update_wrapper(self, getattr(function, "__func__", function))  # type: ignore[arg-type]
        self._binding: type | None = (
            type(function) if isinstance(function, staticmethod | classmethod) else None
        )
        self._function: Callable[..., Any] = getattr(function, "__func__", function)
        name = name_of(self._function, options.names)
        self.region = region
        self.names = options.names
        self.name = name
        """Module and qualified name: the function's name in entries, counters and logs."""
        self._binder = Binder(self._function, options.ignore, name)
        # The first parameter of a class method is called "cls" (PEP 8).
        first = next(iter(self._binder.signature.parameters), "")
        self._takes_class = first == "cls" and self._is_method()
        self._tags = TagMaker(
            name, options.tags, self._binder.signature.parameters, region.stats.tag_users
        )
        self._key = options.key
        self._policy = options.policy(name, default)
        self._dependents = (
            QueryDependents(region, self._policy) if self._policy.depends_on == QUERIES else None
        )
        # Bound here, so that a hit takes no more calls than the region's own.
        self._lookup = (self._dependents or region).lookup
        self._lookup_many = (self._dependents or region).lookup_many
        self._value_if_fresh = (self._dependents or region).value_if_fresh
        self._begin_lookup = (self._dependents or region).begin_lookup
        self._end_lookup = region.end_lookup
        self._value_in_loop = (self._dependents or region).value_in_loop
        self.warm = options.checked_warm(name)
        """A function that returns the calls to load in advance; None: warm= was not given."""
        # A function with a changed signature is another function: its arguments mean another thing.
        identity = (name, str(options.version), *self._binder.signature.parameters)
        self._identity = encode((region.name, *identity))
        # The same for all versions: releases that run side by side invalidate for each other.
        self._shared = encode((region.name, name))
        self._scope = function_scope(region.name, name)
        self._shared_scopes = (self._scope, region_scope(region.name))
        # A function of the application, as key= or tags=, may return something else next time.
        self._remembers = options.key is None and not callable(options.tags)
        self._remembered = functools.lru_cache(REMEMBERED, typed=True)(
            lambda *args: self._make_entry(args, {})
        )
        if self._tags:
            clear_at_change(self._remembered)
        self._prefix: tuple[Any, ...] = ()
        self._stats = region.stats.of(name)
        self._options = options
        self._take_name(region.functions.get(name))
        region.functions[name] = self
        region.policies[name] = self._policy
        # Beaker's own region_invalidate() recognizes a decorated function by these two.
        self._arg_region = region.name
        self._arg_namespace = name

    def _is_method(self) -> bool:
        holder = str(getattr(self._function, "__qualname__", "")).rpartition(".")[0]
        return bool(holder) and not holder.endswith("<locals>")

    def _take_name(self, former: Self | None) -> None:
        """Raise ConfigurationError if a different function has the same name."""
        if former is None or former._options.version != self._options.version:
            return
        made_of = [
            (each._function, each._options.key, list(each._options.ignore))
            for each in (self, former)
        ]
        if not is_same(*made_of) and not replaces(self._function, former):
            raise ConfigurationError(
                f"region {self.region.name!r}: another function is called {self.name} already, and "
                f"the two would read each other's values: give one a label, as in "
                f'@cache.region({self.region.name!r}, "a label"). All inner functions of a factory '
                f"have one name, and so have all wrappers made without functools.wraps"
            )

    @property
    def policy(self) -> Policy:
        """The times for which its values are served."""
        return self._policy

    def entry(self, *args: P.args, **kwargs: P.kwargs) -> Entry:
        """Return the entry of a call: its address in the store, and its invalidation scopes.

        Args:
            *args: The arguments of the call.
            **kwargs: The arguments of the call.

        Returns:
            The entry; calls with equal arguments have equal entries.

        Raises:
            UnkeyableArgumentError: An argument has no stable key.
            TypeError: The function does not take these arguments.

        Example::

            tasks_of.entry(1) == tasks_of.entry(list_id=1)  # True
        """
        return self._entry(self._prefix + args, kwargs)

    def _entry(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Entry:
        if self._remembers and not kwargs:
            types = list(map(type, args))
            if plain_types.issuperset(types) or all(map(is_plain, types)):
                return self._remembered(*args)
        return self._make_entry(args, kwargs)

    def _make_entry(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Entry:
        if self._takes_class and not (args and isinstance(args[0], type)):
            raise ConfigurationError(
                f"{self.name}: the class is not known: since Python 3.13, @classmethod does not "
                f"pass it on to a decorated function. Write @cache.region(...) above @classmethod"
            )
        arguments = self._binder.bind(args, kwargs)
        if self._key is None:
            try:
                key, places = self._binder.encode(arguments)
            except UnkeyableArgumentError:
                refuse_django()  # If the Django application is missing, say so: it adds models.
                raise
        else:
            key, places = self._own_key(self._key(*args, **kwargs))
        address = address_of(self._identity, key, *((places,) if places else ()))
        # Two entries of one call (see `places`) share a scope, so an invalidation reaches both.
        scopes: tuple[str, ...] = (entry_scope(address_of(self._shared, key)), *self._shared_scopes)
        if self._tags:
            scopes += self._tags.scopes(args, kwargs, arguments)
        return Entry(self.name, address, scopes)

    def _own_key(self, value: Any) -> tuple[bytes, bytes]:
        try:
            return encode_apart(value)
        except (TypeError, ValueError, RecursionError) as error:
            raise UnkeyableArgumentError(
                f"{self.name}: key= returned {value!r}, which cannot be a key: {error}. Return "
                f"what identifies the call, such as an id or a tuple of texts and numbers"
            ) from error

    def _bound_to(self, instance: Any) -> Self:
        bound = object.__new__(type(self))
        bound.__dict__.update(self.__dict__)
        bound._prefix = (instance,)
        return bound

    def _bind(self, instance: Any, owner: Any) -> Self:
        if self._binding is staticmethod:
            return self
        if self._binding is classmethod:
            return self._bound_to(owner)
        return self if instance is None else self._bound_to(instance)

    def _invalidate(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        scope = self._entry(self._prefix + args, kwargs).own_scope
        self.region.invalidate(scope, f"one call of {self.name}", self.name)

    def _invalidate_all(self) -> None:
        self.region.invalidate(frozenset((self._scope,)), f"all calls of {self.name}", self.name)

    def _peek(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Return the stored value, MISSING if a call would load."""
        if not self.region.enabled:
            return MISSING
        entry = self._entry(self._prefix + args, kwargs)
        return self._value_if_fresh(entry, self._lookup(entry), self._policy)

    def _hit(self, entry: Entry, lookup: Lookup | None, value: Any) -> Any:
        if lookup is not None:
            self._stats.hit(entry, lookup, value)
        return value

    def _load_flow(self, entry: Entry, lookup: Lookup | None) -> LoadFlow:
        if self._dependents is not None:
            return self._dependents.load(entry, lookup)
        return loading.load(self.region, entry, lookup, self._policy)

    def _refresh_flow(self, entry: Entry) -> LoadFlow:
        if self._dependents is not None:
            return self._dependents.refresh(entry)
        return loading.refresh(self.region, entry, self._policy)

    def __reduce__(self) -> Any:
        """Pickle and copy as functions are: by name, a method by its object and its name."""
        name = getattr(self, "__qualname__", self.name)
        return (getattr, (self._prefix[0], self.__name__)) if self._prefix else name

    def __repr__(self) -> str:
        return f"<{self.name}, cached in region {self.region.name}>"


class CachedFunction(Cached[P], Generic[P, R]):
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
        self,
        entry: Entry,
        lookup: Lookup | None,
        call: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> R:
        value = self._value_if_fresh(entry, lookup, self._policy)
        if value is MISSING:
            return self._loaded(entry, lookup, call, kwargs)
        return self._hit(entry, lookup, value)  # type: ignore[no-any-return]

    def _loaded(
        self,
        entry: Entry,
        lookup: Lookup | None,
        call: tuple[Any, ...],
        kwargs: dict[str, Any],
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
            Exception: Whatever the function raises.

        Example::

            for number in range(1000):
                tasks_of.fill(number)
        """
        region = self.region
        if not region.enabled or self._dependents is not None:
            return self(*args, **kwargs)
        call = self._prefix + args
        entry = self._entry(call, kwargs)
        lookup = region.lookup(entry, region.store.read_for_load)
        value = self._value_if_fresh(entry, lookup, self._policy)
        if value is not MISSING:
            return self._hit(entry, lookup, value)  # type: ignore[no-any-return]
        with tracing.call(region.name, self.name, 0):
            flow = loading.fill(region, entry, lookup, self._policy)
            return run(flow, self._load(call, kwargs))  # type: ignore[no-any-return]

    def peek(self, *args: P.args, **kwargs: P.kwargs) -> R | None:
        """Return the stored value, and never load.

        Args:
            *args: The arguments of the function.
            **kwargs: The arguments of the function.

        Returns:
            The value, or None if a call would load.

        Raises:
            UnkeyableArgumentError: An argument has no stable key.

        Example::

            if tasks_of.peek(1) is None: ...
        """
        value = self._peek(args, kwargs)
        return None if value is MISSING else value

    def peek_stale(self, *args: P.args, **kwargs: P.kwargs) -> R | None:
        """Return the stored value even if it has expired, and never load.

        A function of a region of files may return it: if the origin says that nothing has changed,
        the content is stored for another period, without a transfer.

        Args:
            *args: The arguments of the function.
            **kwargs: The arguments of the function.

        Returns:
            The value, or None if there is none, or it was invalidated.

        Raises:
            UnkeyableArgumentError: An argument has no stable key.

        Example::

            @cache.region("files")
            def export(month: str) -> Path | CachedFile:
                kept = export.peek_stale(month)
                return kept if kept is not None and is_unchanged(month) else write(month)
        """
        if not self.region.enabled:
            return None
        entry = self._entry(self._prefix + args, kwargs)
        value = self.region.value_if_younger(entry, self._lookup(entry), math.inf)
        return None if value is MISSING else value

    def stored_digest(self, *args: P.args, **kwargs: P.kwargs) -> str | None:
        """Return the SHA-256 of stored content, without opening it.

        Args:
            *args: The arguments of the function.
            **kwargs: The arguments of the function.

        Returns:
            The digest in hexadecimal, or None if a call would load, or returns no content.

        Raises:
            UnkeyableArgumentError: An argument has no stable key.

        Example::

            if export.stored_digest("2026-10") is None: ...
        """
        if not self.region.enabled or self._dependents is not None:
            return None
        entry = self._entry(self._prefix + args, kwargs)
        return self.region.digest_if_fresh(entry, self._lookup(entry), self._policy)

    def stored_digests(self, calls: Iterable[Any]) -> list[str | None]:
        """As `stored_digest`, for many calls. It takes less time for each.

        Args:
            calls: The calls. Each is the tuple of its arguments, or its only argument if that is
                not a tuple.

        Returns:
            One digest for each call, or None, in their order.

        Raises:
            UnkeyableArgumentError: An argument has no stable key.

        Example::

            missing = [m for m, d in zip(months, export.stored_digests(months)) if d is None]
        """
        given = [self._prefix + arguments(call) for call in calls]
        if not self.region.enabled or self._dependents is not None:
            return [None] * len(given)
        entries = [self._make_entry(call, {}) for call in given]
        return [
            self.region.digest_if_fresh(entry, lookup, self._policy)
            for entry, lookup in zip(entries, self._lookup_many(entries), strict=True)
        ]

    def stored(self, *args: P.args, **kwargs: P.kwargs) -> StoredValue | None:
        """Return what is stored for a call, without its value, and never load.

        Args:
            *args: The arguments of the function.
            **kwargs: The arguments of the function.

        Returns:
            When it was stored, when it expires, how long its load took and its size; None if
            nothing is stored that may be served.

        Raises:
            UnkeyableArgumentError: An argument has no stable key.

        Example::

            tasks_of.stored(1)
        """
        if not self.region.enabled:
            return None
        return stored_value(self.region, self._entry(self._prefix + args, kwargs), self._policy)

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


def arguments(call: Any) -> tuple[Any, ...]:
    """Return the arguments of one of the calls given to `many`."""
    return call if isinstance(call, tuple) else (call,)
