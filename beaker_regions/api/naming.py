"""The name of a decorated function, and whether a different function has the same name.

The key of an entry begins with the name of its function, in every process. Two functions of one
name would read each other's values. All inner functions of a factory have one name. So have all
wrappers made without `functools.wraps`, and all wrappers of one function made with it.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from types import CellType, FunctionType, MethodType
from typing import Any

from beaker_regions.entries.keys import encode, qualified_name
from beaker_regions.errors import ConfigurationError


def name_of(function: Callable[..., Any], labels: tuple[str, ...]) -> str:
    """Return a function's name in entries: module, qualified name, and the decorator's labels.
    Raises ConfigurationError for a function without a name."""
    if not callable(function):
        hint = ": write @property above it" if isinstance(function, property) else ""
        raise ConfigurationError(f"{function!r} cannot be cached: it is not a function{hint}")
    plain = inspect.unwrap(function)
    while isinstance(plain, functools.partial):
        plain = inspect.unwrap(plain.func)
    named = plain is inspect.unwrap(function) and hasattr(plain, "__qualname__")
    if not named and not labels:
        raise ConfigurationError(
            f"{function!r} has no name to key its entries by: write it as def, or give it a label, "
            f'as in @cache.region("functions", "a label")'
        )
    name = qualified_name(plain if hasattr(plain, "__qualname__") else type(plain))
    if "<lambda>" in name:
        raise ConfigurationError(f"{name} has no name to key its entries by: write it as def")
    return ".".join((name, *labels))


def is_same(one: Any, other: Any) -> bool:
    """Whether two functions have the same code and the same captured values: a function that was
    decorated twice, or whose module was imported again."""
    return _Comparison().is_same(one, other)


class _Comparison:
    def __init__(self) -> None:
        self._begun: set[tuple[int, int]] = set()
        """Pairs whose comparison has begun: a function may refer to itself."""

    def is_same(self, one: Any, other: Any) -> bool:
        pair = id(one), id(other)
        if one is other or pair in self._begun:
            return True
        if type(one) is not type(other):
            return False
        self._begun.add(pair)
        if isinstance(one, FunctionType):
            return one.__code__ == other.__code__ and self._are_same(*map(_made_of, (one, other)))
        if isinstance(one, MethodType | classmethod | staticmethod):
            return self._are_same(*map(_bound, (one, other)))
        if isinstance(one, functools.partial):
            return self._are_same(*((each.func, each.args, each.keywords) for each in (one, other)))
        if isinstance(one, CellType):
            return self._are_same_cells(one, other)
        if hasattr(one, "__wrapped__"):
            return self.is_same(one.__wrapped__, other.__wrapped__)
        if isinstance(one, dict):
            return one.keys() == other.keys() and all(
                self.is_same(one[key], other[key]) for key in one
            )
        if isinstance(one, list | tuple):
            return self._are_same(one, other)
        try:
            return encode(one) == encode(other)
        except (TypeError, ValueError, RecursionError):
            return False

    def _are_same(self, some: Sequence[Any], others: Sequence[Any]) -> bool:
        return len(some) == len(others) and all(map(self.is_same, some, others))

    def _are_same_cells(self, one: CellType, other: CellType) -> bool:
        try:
            contents = one.cell_contents, other.cell_contents
        except ValueError:
            return True  # the name is bound later, such as the function's own name
        return self.is_same(*contents)


def _made_of(function: FunctionType) -> tuple[Any, ...]:
    cells = function.__closure__ or ()
    return (function.__defaults__, function.__kwdefaults__, *cells)


def _bound(method: Any) -> tuple[Any, ...]:
    return method.__func__, getattr(method, "__self__", None)


def replaces(new: Callable[..., Any], old: Any) -> bool:
    """Whether a new function replaces the decorated function ``old``: its module was loaded again,
    or it was defined again in a shell."""
    plain = inspect.unwrap(new)
    former = inspect.unwrap(old)
    if not all(isinstance(each, FunctionType) and _is_global(each) for each in (plain, former)):
        return False
    if plain is former:
        return False  # another wrapper of it
    if plain.__globals__ is not former.__globals__:
        return True
    return _is_within(old, _found(plain.__globals__, plain.__qualname__))


def _is_global(function: FunctionType) -> bool:
    return "<locals>" not in function.__qualname__


def _found(names: dict[str, Any], qualname: str) -> Any:
    """Return the present value of a qualified name in its module or class. None: there is none."""
    first, *others = qualname.split(".")
    found = names.get(first)
    for name in others:
        found = getattr(found, "__dict__", {}).get(name)
    return found


def _is_within(function: Any, found: Any) -> bool:
    """Whether ``found`` is the function, or wraps it."""
    while found is not None and found is not function:
        found = getattr(found, "__wrapped__", None)
    return found is function
