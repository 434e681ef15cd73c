"""From the arguments of a call to the key of its entry.

Two calls share an entry if and only if they pass equal arguments of the same types to the same
parameters. So ``f(1)``, ``f("1")`` and ``f(True)`` are three entries, ``f(1)``, ``f(x=1)`` and a
default of 1 are one, and no text in an argument can make one call look like another: every part
is written with its type and its length before it.
"""

from __future__ import annotations

import datetime
import decimal
import enum
import fractions
import inspect
import pathlib
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from regions.errors import ConfigurationError, UnkeyableArgument

Encoder = Callable[[Any], bytes]

_encoders: dict[type, Encoder] = {}


def register(cls: type, part: Callable[[Any], Any]) -> None:
    """Teach the keys a type: instances of ``cls`` and its subclasses are keyed by ``part(value)``.

    ``part`` returns something that has a key itself, such as a tuple of strings and numbers that
    tells this instance from every other. It may raise ValueError for one that has no stable key.
    """
    _encoders[cls] = lambda value: encode(part(value))


def qualified_name(obj: Any) -> str:
    """Return ``module.qualname`` of a class or function: the same on every host and release."""
    return f"{obj.__module__}.{obj.__qualname__}"


def encode(value: Any) -> bytes:
    """Return the unambiguous, typed encoding of one value.

    Raises TypeError for a type that has no stable key, ValueError for a value that has none.
    """
    cls = type(value)
    encoder = _exact.get(cls)
    if encoder is not None:
        return encoder(value)
    if isinstance(value, enum.Enum):
        return _part(b"e", _text(qualified_name(cls)) + _text(value.name))
    if isinstance(value, type):
        return _part(b"c", _text(qualified_name(value)))
    for base in cls.__mro__[:-1]:
        encoder = _encoders.get(base) or _exact.get(base)
        if encoder is not None:
            return _part(b"o", _text(qualified_name(cls)) + encoder(value))
    if is_dataclass(value):
        named = ((field.name, getattr(value, field.name)) for field in fields(value))
        return _part(b"o", _text(qualified_name(cls)) + _sequence(b"D", named))
    if isinstance(value, pathlib.PurePath):
        return _part(b"p", _text(str(value)))
    raise TypeError(f"{qualified_name(cls)} has no stable key")


def _part(tag: bytes, body: bytes) -> bytes:
    return b"%b%d:%b" % (tag, len(body), body)


def _text(value: str) -> bytes:
    # Lone surrogates (undecodable file names) are text too.
    return _part(b"s", value.encode("utf-8", "surrogatepass"))


def _sequence(tag: bytes, values: Iterable[Any]) -> bytes:
    return _part(tag, b"".join(map(encode, values)))


def _unordered(tag: bytes, values: Iterable[Any]) -> bytes:
    return _part(tag, b"".join(sorted(map(encode, values))))


def _repr(tag: bytes) -> Encoder:
    return lambda value: _part(tag, repr(value).encode())


def _time(value: Any) -> bytes:
    # The name of the zone tells apart two zones that agree at this instant; fold, the two
    # readings of an hour that a clock shows twice.
    zone = getattr(value, "tzinfo", None)
    fold = getattr(value, "fold", 0)
    return _part(b"t", _text(value.isoformat()) + _text(str(zone)) + encode(fold))


def _float(value: float) -> bytes:
    if value != value:
        raise ValueError("NaN is not equal to itself and so has no stable key")
    return _part(b"f", repr(value).encode())


_exact: dict[type, Encoder] = {
    type(None): lambda _: b"n",
    bool: lambda value: b"T" if value else b"F",
    int: lambda value: b"i%x;" % value,
    str: _text,
    bytes: lambda value: _part(b"b", value),
    bytearray: lambda value: _part(b"a", bytes(value)),
    float: _float,
    complex: _repr(b"j"),
    decimal.Decimal: _repr(b"d"),
    fractions.Fraction: _repr(b"r"),
    uuid.UUID: lambda value: _part(b"u", value.bytes),
    datetime.datetime: _time,
    datetime.date: lambda value: _part(b"y", value.isoformat().encode()),
    datetime.time: _time,
    datetime.timedelta: _repr(b"h"),
    tuple: lambda value: _sequence(b"(", value),
    list: lambda value: _sequence(b"[", value),
    set: lambda value: _unordered(b"{", value),
    frozenset: lambda value: _unordered(b"<", value),
    dict: lambda value: _unordered(b"m", value.items()),
    range: _repr(b"g"),
}


class Binder:
    """Binds the arguments of calls to a function's parameters, and encodes them.

    ``ignore`` names parameters that do not belong to the key.
    """

    def __init__(self, function: Callable[..., Any], ignore: Iterable[str] = ()) -> None:
        self.name = qualified_name(function)
        self.signature = inspect.signature(function)
        parameters = self.signature.parameters
        self.ignore = frozenset(ignore)
        for name in self.ignore - parameters.keys():
            raise ConfigurationError(
                f"{self.name}: ignore={name!r} is not a parameter; it has {', '.join(parameters)}"
            )
        kinds = {parameter.kind for parameter in parameters.values()}
        simple = kinds <= {
            inspect.Parameter.POSITIONAL_ONLY,
            inspect.Parameter.POSITIONAL_OR_KEYWORD,
        }
        self._names = tuple(parameters)
        self._positional = len(parameters) if simple else -1
        self._defaults = tuple(
            each.default for each in parameters.values() if each.default is not each.empty
        )
        self._required = self._positional - len(self._defaults)

    def bind(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """Return every parameter's value, defaults in; TypeError as the call itself would."""
        given = len(args)
        if not kwargs and self._required <= given <= self._positional:
            # As below, in a quarter of the time.
            return dict(
                zip(self._names, args + self._defaults[given - self._required :], strict=True)
            )
        bound = self.signature.bind(*args, **kwargs)
        bound.apply_defaults()
        return bound.arguments

    def encode(self, arguments: Mapping[str, Any]) -> bytes:
        """Encode what `bind` returned. Raises UnkeyableArgument, naming the parameter."""
        parts = []
        for name, value in arguments.items():
            if name in self.ignore:
                continue
            try:
                parts.append(encode(value))
            except (TypeError, ValueError, RecursionError) as error:
                raise UnkeyableArgument(
                    f"{self.name}: argument {name!r} cannot be part of a key: {error}. Pass what "
                    f"identifies it instead (an id, a tuple), leave it out with "
                    f"ignore=[{name!r}], give the decorator key=, or teach the keys its type "
                    f"with regions.keys.register()."
                ) from error
        return b"".join(parts)
