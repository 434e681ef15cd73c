"""Values that nobody can change: one object of them may be handed to every caller."""

from __future__ import annotations

import datetime
import decimal
import enum
import fractions
import sys
import types
import uuid
import zoneinfo
from collections import namedtuple
from typing import Any, Generic
from weakref import WeakKeyDictionary

from beaker_regions.entries.content import SmallCachedFile

_ATOMS = frozenset(
    (
        type(None),
        bool,
        int,
        float,
        complex,
        str,
        bytes,
        range,
        decimal.Decimal,
        fractions.Fraction,
        uuid.UUID,
        datetime.date,
        datetime.timedelta,
        datetime.timezone,
        zoneinfo.ZoneInfo,
    )
)
_BASES = _ATOMS | {tuple, Generic, object}
"""Classes that a class of unchangeable instances may have as bases, and that add no state."""
_METHODS = (
    types.FunctionType,
    types.GetSetDescriptorType,
    types.MemberDescriptorType,
    type(namedtuple("_Pair", "first second").first),  # type: ignore[attr-defined]
    property,
    classmethod,
    staticmethod,
)
"""Attributes of a class with ``__get__`` that keep nothing new in the instance. Others may, as
`functools.cached_property` does."""
_fields_of: WeakKeyDictionary[type, tuple[str, ...] | None] = WeakKeyDictionary()


def size_if_unchangeable(value: Any) -> int | None:
    """Return the bytes of memory of a value that nobody can change, about; None for any other.

    Such are numbers, texts, bytes, dates, members of enumerations, small content, and tuples,
    frozen sets and frozen dataclasses of these.
    """
    try:
        return _size(value)
    except RecursionError:
        return None


def _size(value: Any) -> int | None:
    cls = type(value)
    if cls in _ATOMS:
        return sys.getsizeof(value)
    if cls is datetime.datetime or cls is datetime.time:
        return None if _size(value.tzinfo) is None else sys.getsizeof(value)
    if cls is SmallCachedFile:
        return sys.getsizeof(value)  # its content is a part of its record
    if cls is tuple or cls is frozenset:
        return _total(sys.getsizeof(value), value)
    if isinstance(value, enum.Enum):
        return 0  # unpickling returns the one member, too
    if cls not in _fields_of:
        _fields_of[cls] = _fields(cls)
    fields = _fields_of[cls]
    if fields is None:
        return None
    if issubclass(cls, tuple):
        return _total(sys.getsizeof(value), value)
    own = getattr(value, "__dict__", {})
    if not own.keys() <= set(fields):
        return None
    parts = [getattr(value, name) for name in fields if name in own or hasattr(value, name)]
    return _total(sys.getsizeof(value) + sys.getsizeof(own), parts)


def _total(size: int, values: Any) -> int | None:
    for each in values:
        part = _size(each)
        if part is None:
            return None
        size += part
    return size


def _fields(cls: type) -> tuple[str, ...] | None:
    """Return the fields of a frozen dataclass; none for a named tuple, or for a subclass of text or
    bytes that adds no attributes. None if instances of the class may be changed."""
    own = [base for base in cls.__mro__ if base not in _BASES]
    members = [each for base in own for each in vars(base).values()]
    if any(hasattr(type(each), "__get__") and not isinstance(each, _METHODS) for each in members):
        return None
    if issubclass(cls, tuple | str | bytes):
        has_slots = any(isinstance(each, types.MemberDescriptorType) for each in members)
        return None if cls.__dictoffset__ or has_slots else ()
    parameters = cls.__dict__.get("__dataclass_params__")
    # A base that is no dataclass may have a state of its own, such as that of a list.
    if parameters is None or not all("__dataclass_params__" in vars(base) for base in own):
        return None
    return tuple(cls.__dict__["__dataclass_fields__"]) if parameters.frozen else None
