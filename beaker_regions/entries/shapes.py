"""Pickles that know the fields of their classes.

Instances of named tuples, and of dataclasses with slots, are pickled as the values of their fields
in order, without the names. If a release inserts a field, or changes the order, the values that
are stored already would come back in other fields. So wherever a pickle refers to such a class, it
has the names of its fields, too; if these are others now, the value cannot be loaded.
"""

from __future__ import annotations

import importlib
import io
import pickle
import sys
from typing import Any


def dumps(value: Any) -> bytes:
    """As `pickle.dumps`; `pickle.loads` loads it, and raises ShapeChangedError if a class has other
    fields than now."""
    buffer = io.BytesIO()
    _Pickler(buffer, pickle.HIGHEST_PROTOCOL).dump(value)
    return buffer.getvalue()


class ShapeChangedError(pickle.UnpicklingError):
    """A stored value is of a class that has other fields now."""


class _Pickler(pickle.Pickler):
    def reducer_override(self, obj: Any) -> Any:
        # A class is asked for once in a pickle, however many instances it has there.
        shape = _shape(obj) if isinstance(obj, type) else None
        if shape is None or not _is_found(obj):
            return NotImplemented  # which is to say: as pickle does it, or refuses it
        return class_of, (obj.__module__, obj.__qualname__, shape)


def _shape(cls: Any) -> str | None:
    """Return the fields of a class whose instances may be pickled without their names."""
    fields = getattr(cls, "__dataclass_fields__", None)
    if fields is None and issubclass(cls, tuple):
        fields = getattr(cls, "_fields", None)
    return None if fields is None else " ".join(fields)


def _is_found(cls: type) -> bool:
    try:
        return _find(cls.__module__, cls.__qualname__) is cls
    except (ImportError, AttributeError):
        return False


def _find(module: str, name: str) -> Any:
    found: Any = sys.modules.get(module) or importlib.import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    return found


def class_of(module: str, name: str, shape: str) -> Any:
    """Return a class that a pickle refers to. Raises ShapeChangedError if it has other fields, and
    what importing it raises."""
    found = _find(module, name)
    if _shape(found) != shape:
        raise ShapeChangedError(
            f"{module}.{name} has other fields than when this was stored: {shape}"
        )
    return found
