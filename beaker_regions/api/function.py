"""The decorated function: called as before, with ways to invalidate, refresh and look."""

from __future__ import annotations

import functools
import inspect
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
from beaker_regions.engine import loading
from beaker_regions.engine.drivers import run
from beaker_regions.engine.invalidation import refuse_django
from beaker_regions.entries.entry import (
    Entry,
    address_of,
    entry_scope,
    function_scope,
    region_scope,
)
from beaker_regions.entries.keys import Binder, encode, encode_apart
from beaker_regions.entries.sentinels import MISSING
from beaker_regions.entries.tags import TagMaker
from beaker_regions.errors import ConfigurationError, UnkeyableArgumentError
from beaker_regions.telemetry import tracing

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from beaker_regions.api.function_options import FunctionOptions
    from beaker_regions.engine.region import Region
    from beaker_regions.entries.entry import Lookup
    from beaker_regions.entries.freshness import Policy

P = ParamSpec("P")
Q = ParamSpec("Q")
R = TypeVar("R")
D = TypeVar("D")
S = TypeVar("S")


REMEMBERED = 1024
"""Calls of a function whose entries are remembered: of those with plain arguments, the latest."""
_PLAIN = frozenset((type(None), bool, int, str, bytes))
"""Types of which equal values of one type are always the same key."""


class _BoundSignature:
    """What `inspect.signature` shows of a method of an object: that of the function, without
    ``self``. Of all else it finds the function's own."""

    def __get__(self, cached: Cached[Any] | None, owner: Any) -> inspect.Signature:
        if cached is None or not cached._prefix:
            raise AttributeError("__signature__")
        return inspect.signature(MethodType(cached._function, cached._prefix[0]))


class Cached(Generic[P]):
    """What the cached forms of functions and of coroutine functions share."""

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
        # First: a function that wraps a decorated one has the attributes of that one.
        functools.update_wrapper(self, getattr(function, "__func__", function))  # type: ignore[arg-type]
        self._binding: type | None = (
            type(function) if isinstance(function, staticmethod | classmethod) else None
        )
        self._function: Callable[..., Any] = getattr(function, "__func__", function)
        name = name_of(self._function, options.names)
        self.region = region
        self.names = options.names
        self.name = name
        """Module and qualified name, as entries, counters and logs know the function."""
        self._binder = Binder(self._function, options.ignore, name)
        # The first parameter of a class method is called so (PEP 8).
        first = next(iter(self._binder.signature.parameters), "")
        self._takes_class = first == "cls" and self._is_method()
        self._tags = TagMaker(name, options.tags, self._binder.signature.parameters)
        self._key = options.key
        self._policy = options.policy(name, default)
        self.warm = options.checked_warm(name)
        """Returns the calls that are worth loading in advance; None: nobody knows."""
        # A changed signature is another function: its arguments mean something else.
        identity = (name, str(options.version), *self._binder.signature.parameters)
        self._identity = encode((region.name, *identity))
        # Of all versions: releases that run side by side invalidate for each other.
        self._shared = encode((region.name, name))
        self._scope = function_scope(region.name, name)
        self._shared_scopes = (self._scope, region_scope(region.name))
        # Keys and tags that the application's functions make may be others at the next call.
        self._remembers = options.key is None and not callable(options.tags)
        self._remembered = functools.lru_cache(REMEMBERED, typed=True)(
            lambda *args: self._make_entry(args, {})
        )
        self._prefix: tuple[Any, ...] = ()
        self._stats = region.stats.of(name)
        self._options = options
        self._take_name(region.functions.get(name))
        region.functions[name] = self
        region.policies[name] = self._policy
        # How Beaker's own region_invalidate() knows a decorated function.
        self._arg_region = region.name
        self._arg_namespace = name

    def _is_method(self) -> bool:
        holder = str(getattr(self._function, "__qualname__", "")).rpartition(".")[0]
        return bool(holder) and not holder.endswith("<locals>")

    def _take_name(self, former: Self | None) -> None:
        """Raise ConfigurationError if another function, of other code, has the name."""
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
                f'@cache.region({self.region.name!r}, "a label"). Inner functions of a factory, '
                f"and wrappers made without functools.wraps, are all called the same"
            )

    @property
    def policy(self) -> Policy:
        """For how long its values are served."""
        return self._policy

    def entry(self, *args: P.args, **kwargs: P.kwargs) -> Entry:
        """Return where the value of a call with these arguments is stored.

        Raises UnkeyableArgumentError for an argument without a stable key, TypeError for arguments
        that the function would not take.
        """
        return self._entry(self._prefix + args, kwargs)

    def _entry(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Entry:
        if self._remembers and not kwargs and _PLAIN.issuperset(map(type, args)):
            return self._remembered(*args)
        return self._make_entry(args, kwargs)

    def _make_entry(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Entry:
        if self._takes_class and not (args and isinstance(args[0], type)):
            raise ConfigurationError(
                f"{self.name}: the class is not known: from Python 3.13 on, what @classmethod "
                f"wraps no longer learns it. Write @cache.region(...) above @classmethod"
            )
        arguments = self._binder.bind(args, kwargs)
        if self._key is None:
            try:
                key, places = self._binder.encode(arguments)
            except UnkeyableArgumentError:
                refuse_django()  # whose models are taught by the application that is missing
                raise
        else:
            key, places = self._own_key(self._key(*args, **kwargs))
        address = address_of(self._identity, key, *((places,) if places else ()))
        # An invalidation reaches every place that one thing lies in.
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
        if not self.region.enabled:
            return MISSING
        entry = self._entry(self._prefix + args, kwargs)
        return self.region.value_if_fresh(entry, self.region.look(entry), self._policy)

    def __reduce__(self) -> Any:
        """As functions are pickled and copied: by name, and a method by its object and name."""
        name = getattr(self, "__qualname__", self.name)
        return (getattr, (self._prefix[0], self.__name__)) if self._prefix else name

    def __repr__(self) -> str:
        return f"<{self.name}, cached in region {self.region.name}>"


class CachedFunction(Cached[P], Generic[P, R]):
    """A function whose results are kept in a region."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Return the stored value, or load it; one load at a time in the whole cluster."""
        region = self.region
        call = self._prefix + args
        if not region.enabled:
            return region.store.pass_through(self._function(*call, **kwargs))  # type: ignore[no-any-return]
        if tracing.watchers:
            with tracing.call(region.name, self.name):
                entry = self._entry(call, kwargs)
                return self._value(entry, region.look(entry), call, kwargs)
        entry = self._entry(call, kwargs)
        return self._value(entry, region.look(entry), call, kwargs)

    def many(self, calls: Iterable[Any]) -> list[R]:
        """Return the values of many calls, in their order. What is stored is fetched in one
        round trip to each server, the rest is loaded.

        A call is the tuple of its arguments, or, unless that is a tuple, its one argument.
        """
        region = self.region
        given = [self._prefix + arguments(call) for call in calls]
        if not region.enabled:
            return [region.store.pass_through(self._function(*call)) for call in given]
        if tracing.watchers:
            with tracing.call(region.name, self.name, len(given)):
                return self._values(given)
        return self._values(given)

    def beside(
        self, others: Sequence[Entry], *args: P.args, **kwargs: P.kwargs
    ) -> tuple[R, list[Lookup | None]]:
        """Return the value of a call, and what was seen of other entries of the region in the same
        round trip. Where the value had to be loaded that is nothing: it may be old by then."""
        region = self.region
        call = self._prefix + args
        if not region.enabled:
            return self(*args, **kwargs), []
        if tracing.watchers:
            with tracing.call(region.name, self.name):
                return self._beside(others, call, kwargs)
        return self._beside(others, call, kwargs)

    def _beside(
        self, others: Sequence[Entry], call: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[R, list[Lookup | None]]:
        entry = self._entry(call, kwargs)
        reading, *seen = self.region.look_many([entry, *others])
        value = self.region.value_if_fresh(entry, reading, self._policy)
        if value is MISSING:
            return self._value(entry, reading, call, kwargs), []
        return self._hit(entry, reading, value), seen

    def _values(self, given: list[tuple[Any, ...]]) -> list[R]:
        entries = [self._entry(call, {}) for call in given]
        readings = self.region.look_many(entries)
        return [
            self._value(entry, reading, call, {})
            for entry, reading, call in zip(entries, readings, given, strict=True)
        ]

    def _value(
        self,
        entry: Entry,
        reading: Lookup | None,
        call: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> R:
        region = self.region
        value = region.value_if_fresh(entry, reading, self._policy)
        if value is MISSING:
            load = functools.partial(self._function, *call, **kwargs)
            return run(loading.load(region, entry, reading, self._policy), load)  # type: ignore[no-any-return]
        return self._hit(entry, reading, value)

    def _hit(self, entry: Entry, reading: Lookup | None, value: Any) -> R:
        if reading is not None and reading.record is not None:
            self._stats.hit(entry, reading, reading.record, value)
        return value  # type: ignore[no-any-return]

    def refresh(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Load now, store, and return the value (write-through)."""
        call = self._prefix + args
        load = functools.partial(self._function, *call, **kwargs)
        if not self.region.enabled:
            return self.region.store.pass_through(load())  # type: ignore[no-any-return]
        protocol = loading.refresh(self.region, self._entry(call, kwargs), self._policy)
        if tracing.watchers:
            with tracing.call(self.region.name, self.name, 0):
                return run(protocol, load)  # type: ignore[no-any-return]
        return run(protocol, load)  # type: ignore[no-any-return]

    def peek(self, *args: P.args, **kwargs: P.kwargs) -> R | None:
        """Return the stored value, or None where a call would load."""
        value = self._peek(args, kwargs)
        return None if value is MISSING else value

    def uncached(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function itself; nothing is looked up or stored."""
        return self._function(*self._prefix, *args, **kwargs)  # type: ignore[no-any-return]

    def invalidate(self, *args: P.args, **kwargs: P.kwargs) -> None:
        """Let no read that starts after this see the value of this call as it was before."""
        self._invalidate(args, kwargs)

    def invalidate_all(self) -> None:
        """As `invalidate`, for every call of the function, with one write."""
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
    """Return the arguments of a call as `many` takes it."""
    return call if isinstance(call, tuple) else (call,)
