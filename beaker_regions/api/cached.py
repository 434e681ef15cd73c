"""Names, keys and invalidation: what cached functions and coroutine functions have in common."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from types import MethodType
from typing import Any, Generic, ParamSpec, Self

from beaker_regions.api.function_options import FunctionOptions
from beaker_regions.api.naming import is_same, name_of, replaces
from beaker_regions.engine import loading
from beaker_regions.engine.dependencies import QueryDependents
from beaker_regions.engine.drivers import LoadFlow
from beaker_regions.engine.invalidation import refuse_django
from beaker_regions.engine.region import Region
from beaker_regions.entries.entry import (
    Entry,
    Lookup,
    address_of,
    entry_scope,
    function_scope,
    region_scope,
)
from beaker_regions.entries.families import clear_at_change
from beaker_regions.entries.freshness import QUERIES, Policy
from beaker_regions.entries.keys import Binder, encode, encode_apart, is_plain, plain_types
from beaker_regions.entries.sentinels import MISSING
from beaker_regions.entries.tags import TagMaker
from beaker_regions.errors import ConfigurationError, UnkeyableArgumentError

P = ParamSpec("P")


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
        try:
            scope = self._entry(self._prefix + args, kwargs).own_scope
        except TypeError as error:
            if not args and not kwargs:
                error.add_note(f"To invalidate every call, use {self.__name__}.invalidate_all().")
            raise
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


def arguments(call: Any) -> tuple[Any, ...]:
    """Return the arguments of one of the calls given to `many`."""
    return call if isinstance(call, tuple) else (call,)
