"""From the arguments of a call to the key of its entry.

Two calls share an entry if and only if they pass equal arguments of the same types to the same
parameters. So ``f(1)``, ``f("1")`` and ``f(True)`` are three entries, ``f(1)``, ``f(x=1)`` and a
default of 1 are one, and no text in an argument can make one call look like another: every part
is written with its type and its length before it.

Equal means equal by ``==``: ``Decimal("5")`` is ``Decimal("5.00")``, 0.0 is -0.0, and the order
of a dict does not count, unlike that of an OrderedDict. Times are the exception. One instant in
two time zones is two keys, since a function may see another day in each.
"""

from __future__ import annotations

import collections
import datetime
import decimal
import enum
import fractions
import inspect
import pathlib
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

from beaker_regions.errors import ConfigurationError, UnkeyableArgumentError

Encoder = Callable[[Any], bytes]
Places = list[bytes]
"""The encoded places of the `Located` values within a value, in their order."""
Container = Callable[[Any, Places], bytes]


@dataclass(frozen=True, slots=True)
class Located:
    """The part that `register` and `substitute` may return for an object that may be in several
    places, such as a row in several databases. Calls with another place are other entries; an
    invalidation of one of them covers all."""

    identity: Any
    place: str


_registered: dict[type, Container] = {}


def register(cls: type, part: Callable[[Any], Any]) -> None:
    """Let instances of a type be arguments of cached functions. Their key is that of a part.

    Args:
        cls: The type. Its subclasses are included; the key contains the instance's own class.
        part: Takes an instance, and returns a value with a key, such as a tuple of texts and
            numbers that identifies it. It may raise ValueError for an instance without one.

    Raises:
        ConfigurationError: The type has a key already.

    Example::

        register_key(Shop, lambda shop: shop.number)
    """

    def encoder(value: Any, places: Places) -> bytes:
        return _part(b"o", _text(qualified_name(type(value))) + _encode(part(value), places))

    _add(cls, encoder)


def substitute(cls: type, part: Callable[[Any], Any]) -> None:
    """As `register`, for types that stand for another: an instance of ``cls`` has the key of
    ``part(value)``; its own class does not count."""
    _add(cls, lambda value, places: _encode(part(value), places))


class _RefusedError(ValueError):
    """A value that must not be part of a key; the text says what to do."""


def refuse(cls: type, mend: str) -> None:
    """Refuse instances of ``cls`` in keys. The error of a call that passes one has ``mend``."""

    def encoder(_value: Any, _places: Places) -> bytes:
        raise _RefusedError(mend)

    _add(cls, encoder)


def _add(cls: type, encoder: Container) -> None:
    if cls in _scalars or cls in _containers:
        raise ConfigurationError(
            f"keys: {qualified_name(cls)} has a key already; register a subclass of it instead"
        )
    _registered[cls] = encoder
    plain_types.intersection_update(_PLAIN)


_PLAIN = frozenset((type(None), bool, int, str, bytes))
plain_types: set[type] = set(_PLAIN)
"""Types for which `is_plain` is known to be true."""
_MOST_PLAIN = 1000
_EQUALS = (object.__eq__, int.__eq__, str.__eq__)


def is_plain(cls: type) -> bool:
    """Whether equal values of this very type always have the same key: numbers, texts, and members
    of enumerations."""
    if cls in plain_types:
        return True
    if not issubclass(cls, enum.Enum) or cls.__eq__ not in _EQUALS:
        return False
    if not _registered.keys().isdisjoint(cls.__mro__):
        return False
    if len(plain_types) < _MOST_PLAIN:
        plain_types.add(cls)
    return True


def qualified_name(obj: Any) -> str:
    """Return ``module.qualname`` of a class or function: the same on every host and release."""
    # Django's shell runs in no module.
    return f"{obj.__module__ or '__console__'}.{obj.__qualname__}"


def encode(value: Any) -> bytes:
    """Return the unambiguous, typed encoding of one value.

    Raises TypeError for a type that has no stable key, ValueError for a value that has none.
    """
    return b"".join(encode_apart(value))


def encoded_key(subject: str, key: Any) -> bytes:
    """As `encode`. Raises UnkeyableArgumentError, which names the subject."""
    try:
        return encode(key)
    except (TypeError, ValueError, RecursionError) as error:
        raise UnkeyableArgumentError(f"{subject}: {key!r} cannot be a key: {error}") from error


def encode_apart(value: Any) -> tuple[bytes, bytes]:
    """As `encode`, in two parts: what identifies the value, and the places that it lies in."""
    places: Places = []
    encoded = _encode(value, places)
    return encoded, b"".join(places)


def _encode(value: Any, places: Places) -> bytes:
    cls = type(value)
    if scalar := _scalars.get(cls):
        return scalar(value)
    if container := _containers.get(cls):
        return container(value, places)
    for base in cls.__mro__[:-1]:
        if container := _registered.get(base):
            return container(value, places)
    if isinstance(value, enum.Enum):
        # A combination of flags may have no name.
        part = value.value if isinstance(value, enum.Flag) else value.name
        return _part(b"e", _text(qualified_name(cls)) + _encode(part, places))
    if isinstance(value, type):
        return _part(b"c", _text(qualified_name(value)))
    for base in cls.__mro__[1:-1]:
        if base in _scalars or base in _containers:
            if cls.__eq__ is not base.__eq__:
                break
            body = _scalars[base](value) if base in _scalars else _containers[base](value, places)
            return _part(b"o", _text(qualified_name(cls)) + body)
    if is_dataclass(value):
        return _part(b"o", _text(qualified_name(cls)) + _dataclass(value, places))
    raise TypeError(f"{qualified_name(cls)} has no stable key")


def _part(tag: bytes, body: bytes) -> bytes:
    return b"%b%d:%b" % (tag, len(body), body)


# -- of one value ------------------------------------------------------------------------------
# Instances of subclasses are encoded by these as well. So the methods of the class itself are
# called: a subclass's own may leave out a part in which two of its instances differ.


def _text(value: str) -> bytes:
    # Lone surrogates (undecodable file names) are text too.
    return _part(b"s", str.encode(value, "utf-8", "surrogatepass"))


def _repr(tag: bytes, cls: Any) -> Encoder:
    return lambda value: _part(tag, cls.__repr__(value).encode())


def _number(value: float) -> bytes:
    if value != value:
        raise ValueError("NaN is not equal to itself and so has no stable key")
    return float.__repr__(value + 0.0).encode()  # -0.0 + 0.0 is 0.0


def _float(value: float) -> bytes:
    return _part(b"f", _number(value))


def _complex(value: complex) -> bytes:
    return _part(b"j", b"%b,%b" % (_number(value.real), _number(value.imag)))


def _decimal(value: decimal.Decimal) -> bytes:
    sign, digits, exponent = value.as_tuple()
    if not isinstance(exponent, int):
        if value.is_nan():
            raise ValueError("NaN is not equal to itself and so has no stable key")
        return _part(b"d", b"-" if sign else b"+")
    written = "".join(map(str, digits)).rstrip("0")
    if not written:
        return _part(b"d", b"0")
    exponent += len(digits) - len(written)
    return _part(b"d", f"{'-' if sign else ''}{written}e{exponent}".encode())


def _range(value: range) -> bytes:
    # Equal ranges are those of equal numbers, however they are written.
    first, step = value[:1], value[:2]
    shown = (len(value), *first, *([step[1] - step[0]] if len(step) == 2 else []))
    return _part(b"g", repr(shown).encode())


def _datetime(value: datetime.datetime) -> bytes:
    return _time(value, datetime.datetime.isoformat(value))


def _time_of_day(value: datetime.time) -> bytes:
    return _time(value, datetime.time.isoformat(value))


def _time(value: datetime.datetime | datetime.time, written: str) -> bytes:
    # The name of the zone distinguishes zones that agree at this instant; fold, the two
    # readings of an hour that a clock shows twice. In what is written of a time with a zone, the
    # distance from UTC distinguishes them.
    zone = value.tzinfo
    cls = type(zone)
    if cls.__str__ is object.__str__ and cls.__repr__ is object.__repr__:
        raise ValueError(f"time zones of {qualified_name(cls)} have no name, __str__")
    fold = b"i%x;" % (value.fold if value.utcoffset() is None else 0)
    return _part(b"t", _text(written) + _text(str(zone)) + fold)


def _path(tag: bytes) -> Encoder:
    return lambda value: _part(tag, _text(str(value)))


def _windows_path(tag: bytes) -> Encoder:
    return lambda value: _part(tag, _text(str(value).lower()))


_scalars: dict[type, Encoder] = {
    type(None): lambda _: b"n",
    bool: lambda value: b"T" if value else b"F",
    int: lambda value: b"i%x;" % value,
    str: _text,
    bytes: lambda value: _part(b"b", value),
    bytearray: lambda value: _part(b"a", value),
    float: _float,
    complex: _complex,
    decimal.Decimal: _decimal,
    fractions.Fraction: _repr(b"r", fractions.Fraction),
    uuid.UUID: lambda value: _part(b"u", value.bytes),
    datetime.datetime: _datetime,
    datetime.date: lambda value: _part(b"y", datetime.date.isoformat(value).encode()),
    datetime.time: _time_of_day,
    datetime.timedelta: _repr(b"h", datetime.timedelta),
    range: _range,
    pathlib.PurePosixPath: _path(b"p"),
    pathlib.PosixPath: _path(b"P"),
    pathlib.PureWindowsPath: _windows_path(b"w"),
    pathlib.WindowsPath: _windows_path(b"W"),
}

# -- of values within others -------------------------------------------------------------------


def _sequence(tag: bytes, values: Iterable[Any], places: Places) -> bytes:
    return _part(tag, b"".join([_encode(value, places) for value in values]))


def _unordered(tag: bytes, values: Iterable[Any], places: Places) -> bytes:
    encoded = sorted(map(encode_apart, values))
    places.extend(place for _, place in encoded)
    return _part(tag, b"".join([each for each, _ in encoded]))


def _dataclass(value: Any, places: Places) -> bytes:
    # A field with compare=False is no part of what makes two of them equal.
    compares = value.__dataclass_params__.eq
    named = [
        (field.name, getattr(value, field.name))
        for field in fields(value)
        if field.compare or not compares
    ]
    return _sequence(b"D", named, places)


def _located(value: Located, places: Places) -> bytes:
    encoded = _encode(value.identity, places)
    places.append(_text(value.place))
    return _part(b"@", encoded)


_containers: dict[type, Container] = {
    tuple: lambda value, places: _sequence(b"(", tuple.__iter__(value), places),
    list: lambda value, places: _sequence(b"[", list.__iter__(value), places),
    set: lambda value, places: _unordered(b"{", set.__iter__(value), places),
    frozenset: lambda value, places: _unordered(b"<", frozenset.__iter__(value), places),
    dict: lambda value, places: _unordered(b"m", dict.items(value), places),
    collections.OrderedDict: lambda value, places: _sequence(
        b"M", collections.OrderedDict.items(value), places
    ),
    # A count of 0 is equal to no count.
    collections.Counter: lambda value, places: _unordered(
        b"k", [item for item in dict.items(value) if item[1]], places
    ),
    Located: _located,
}


_IDS = ("_id", "_pk")
"""Ends of the names of parameters that take the id of a row. A row there would be another call
than its id, and its invalidation would reach nothing."""


class Binder:
    """Binds the arguments of calls to a function's parameters, and encodes them.

    ``ignore`` names parameters that do not belong to the key; ``name`` is what errors call the
    function.
    """

    def __init__(
        self, function: Callable[..., Any], ignore: Iterable[str] = (), name: str | None = None
    ) -> None:
        self.name = name or qualified_name(function)
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
        try:
            bound = self.signature.bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(f"{self.name}{self.signature}: {error}") from None
        bound.apply_defaults()
        return bound.arguments

    def encode(self, arguments: Mapping[str, Any]) -> tuple[bytes, bytes]:
        """Encode what `bind` returned, as `encode_apart` does. Raises UnkeyableArgumentError,
        naming the parameter."""
        parts: list[bytes] = []
        places: Places = []
        for name, value in arguments.items():
            if name in self.ignore:
                continue
            try:
                before = len(places)
                parts.append(_encode(value, places))
                if len(places) > before and f"_{name}".endswith(_IDS):
                    raise ValueError(f"it is a row, {value!r}, and not a row's id")
            except _RefusedError as error:
                raise UnkeyableArgumentError(f"{self.name}: argument {name!r}: {error}") from None
            except (TypeError, ValueError, RecursionError) as error:
                raise UnkeyableArgumentError(
                    f"{self.name}: argument {name!r} cannot be part of a key: {error}. Pass what "
                    f"identifies it instead (an id, a tuple), leave it out with "
                    f"ignore=[{name!r}], give the decorator key=, or teach the keys its type "
                    f"with beaker_regions.register_key()."
                ) from error
        return b"".join(parts), b"".join(places)
