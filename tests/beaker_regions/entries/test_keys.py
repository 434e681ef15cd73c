"""Two calls share a key exactly when they pass the same values to the same parameters."""

from __future__ import annotations

import datetime
import enum
import itertools
import os
import pathlib
import pickle
import subprocess
import sys
from collections import Counter, OrderedDict, defaultdict
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from beaker_regions import ConfigurationError, UnkeyableArgumentError
from beaker_regions.entries.keys import Binder, encode, register

TWO_HOURS = datetime.timedelta(hours=2)


class Permission(enum.Flag):
    READ = 1
    WRITE = 2
    RUN = 4


@dataclass(frozen=True)
class Order:
    number: int
    items: tuple[str, ...]
    note: str = field(default="", compare=False)


class Pair(NamedTuple):
    left: int
    right: str


zones = st.sampled_from([datetime.UTC, ZoneInfo("Europe/Oslo"), datetime.timezone(-TWO_HOURS)])
kinds: list[st.SearchStrategy[Any]] = [
    st.none() | st.booleans(),
    st.integers(),
    st.integers(-3, 3),
    st.floats(allow_nan=False) | st.sampled_from([0.0, -0.0, 1.0]),
    st.sampled_from([complex(real, imag) for real in (0.0, -0.0, 1) for imag in (0.0, -0.0, 1)]),
    st.text(),
    st.binary(),
    st.decimals(allow_nan=False),
    st.sampled_from([Decimal(text) for text in ("5", "5.00", "50e-1", "50", "-5", "5.01")]),
    st.sampled_from([Decimal(text) for text in ("0", "-0", "0.0", "Infinity", "-Infinity")]),
    st.fractions(0, 1, max_denominator=4),
    st.dates(),
    st.datetimes(timezones=st.none() | zones),
    st.times(),
    st.timedeltas(),
    st.uuids(),
    st.builds(range, st.integers(-3, 3), st.integers(-3, 3), st.sampled_from([1, 2, -1, 5])),
    st.integers(0, 7).map(Permission),
    st.builds(Pair, st.integers(0, 2), st.text(max_size=1)),
    st.builds(Order, st.integers(0, 1), st.just(("a",)), st.text(max_size=1)),
    st.builds(pathlib.PurePosixPath, st.sampled_from(["a", "A", "a/", "a/b"])),
    st.builds(pathlib.PureWindowsPath, st.sampled_from(["a", "A", "a/b"])),
]
small = st.dictionaries(st.sampled_from("ab"), st.integers(0, 1), max_size=2)
ordered = st.lists(st.sampled_from("ab"), unique=True).map(OrderedDict[str, Any].fromkeys)
kinds += [
    small,
    small.map(Counter),
    small.map(lambda given: defaultdict(int, given)),
    ordered,
    st.lists(ordered, max_size=2),
]
scalars = st.one_of(kinds[:-5])
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(st.text(max_size=5), inner, max_size=4)
        | st.frozensets(scalars, max_size=4)
    ),
    max_leaves=8,
)
several = st.lists(values, min_size=2, max_size=4) | st.sampled_from(kinds).flatmap(
    lambda kind: st.lists(kind, min_size=2, max_size=6)
)


def are_same(one: Any, other: Any) -> bool:
    """What must be so for two values to share a key: equal, with the same types all the way. Of
    times, the time zone counts as well."""
    if type(one) is not type(other):
        return False
    if isinstance(one, datetime.datetime):
        return one == other and str(one.tzinfo) == str(other.tzinfo)
    if isinstance(one, Counter):
        one, other = ({k: v for k, v in each.items() if v} for each in (one, other))
    if isinstance(one, OrderedDict):
        one, other = list(one.items()), list(other.items())
    if isinstance(one, Order):
        return (one.number, one.items) == (other.number, other.items)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(are_same, one, other))
    if isinstance(one, dict):
        return are_same_sets([*one.items()], [*other.items()])
    if isinstance(one, frozenset):
        return are_same_sets([*one], [*other])
    return bool(one == other)


def are_same_sets(one: list[Any], other: list[Any]) -> bool:
    return len(one) == len(other) and all(
        any(are_same(each, found) for found in other) for each in one
    )


@settings(max_examples=300)
@given(several)
def test_keys_are_equal_exactly_for_equal_values_of_equal_types(found: list[Any]) -> None:
    for one, other in itertools.combinations(found, 2):
        assert (encode(one) == encode(other)) == are_same(one, other), (one, other)


@given(values)
def test_a_copy_of_a_value_has_its_key(value: Any) -> None:
    assert encode(pickle.loads(pickle.dumps(value))) == encode(value)


@given(st.lists(st.text(), max_size=4), st.lists(st.text(), max_size=4))
def test_no_text_makes_one_call_look_like_another(one: list[str], other: list[str]) -> None:
    def function(*args: str) -> None: ...

    binder = Binder(function)
    keys = [binder.encode(binder.bind(tuple(args), {})) for args in (one, other)]
    assert (keys[0] == keys[1]) == (one == other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1, "1"),
        (1, True),
        (1, 1.0),
        ("1", b"1"),
        ((1,), [1]),
        (("a b", "c"), ("a", "b c")),
        (None, ""),
        ([], ()),
        ({1, 2}, frozenset({1, 2})),
        (datetime.date(2026, 1, 1), datetime.datetime(2026, 1, 1)),
        (pathlib.PurePosixPath("a"), "a"),
        (datetime.datetime(2026, 10, 25, 2), datetime.datetime(2026, 10, 25, 2, fold=1)),
    ],
)
def test_values_that_stock_beaker_takes_for_equal_are_not(one: Any, other: Any) -> None:
    assert encode(one) != encode(other)


def test_order_of_sets_and_dicts_does_not_count() -> None:
    assert encode({"a": 1, "b": 2}) == encode({"b": 2, "a": 1})
    assert encode({"x", "y", "z"}) == encode({"z", "y", "x"})


class Colour(enum.Enum):
    RED = 1


class Shade(enum.Enum):
    RED = 1


@dataclass
class Point:
    x: int
    y: int


@dataclass
class Size:
    x: int
    y: int


class Markup(str):
    """A text that a function may well treat otherwise than plain text."""


class Many(dict[str, list[int]]):
    """A dict that shows the last of several values, as Django's QueryDict."""

    def items(self) -> Any:
        return {key: values[-1] for key, values in super().items()}.items()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Colour.RED, Shade.RED),
        (Point(1, 2), Size(1, 2)),
        (Point(1, 2), Point(2, 1)),
        (Markup("a"), "a"),
        (Point, Size),
        (Many(a=[1, 2]), Many(a=[2])),
        (pathlib.PurePosixPath("a"), pathlib.PureWindowsPath("a")),
        (Permission(0), Permission.READ),
    ],
)
def test_classes_count(one: Any, other: Any) -> None:
    assert encode(one) != encode(other)
    assert encode(one) == encode(one)


class Money(Decimal):
    """A number that is equal to another only in one currency."""

    currency = "EUR"

    def __eq__(self, other: object) -> bool:
        return super().__eq__(other) and self.currency == getattr(other, "currency", None)

    __hash__ = Decimal.__hash__


class NamelessZone(datetime.tzinfo):
    def dst(self, _: datetime.datetime | None) -> None: ...

    def tzname(self, _: datetime.datetime | None) -> None: ...

    def utcoffset(self, _: datetime.datetime | None) -> datetime.timedelta:
        return TWO_HOURS


@pytest.mark.parametrize(
    "value",
    [
        object(),
        float("nan"),
        Decimal("NaN"),
        complex(float("nan"), 1),
        iter([]),
        lambda: None,
        [object()],
        Money("5"),
        datetime.datetime(2026, 1, 1, tzinfo=NamelessZone()),
    ],
)
def test_an_argument_without_a_stable_key_is_refused_by_name(value: Any) -> None:
    def report(year: int, source: Any) -> None: ...

    binder = Binder(report)
    with pytest.raises(
        UnkeyableArgumentError, match=r"report: argument 'source'.*ignore=\['source'\]"
    ):
        binder.encode(binder.bind((2026, value), {}))


def test_a_type_that_the_keys_know_is_not_registered() -> None:
    with pytest.raises(ConfigurationError, match=r"decimal\.Decimal has a key already"):
        register(Decimal, str)


def test_a_value_that_contains_itself_is_refused() -> None:
    def function(value: Any) -> None: ...

    endless: list[Any] = []
    endless.append(endless)
    binder = Binder(function)
    with pytest.raises(UnkeyableArgumentError):
        binder.encode(binder.bind((endless,), {}))


def test_defaults_and_keywords_are_one_with_positions() -> None:
    def function(a: int, b: int = 2, *, c: int = 3) -> None: ...

    binder = Binder(function)
    calls: list[tuple[tuple[int, ...], dict[str, int]]] = [
        ((1,), {}),
        ((1, 2), {}),
        ((1,), {"b": 2}),
        ((), {"c": 3, "a": 1}),
    ]
    assert len({binder.encode(binder.bind(args, kwargs)) for args, kwargs in calls}) == 1


def test_extra_keywords_do_not_depend_on_their_order() -> None:
    def function(**options: int) -> None: ...

    binder = Binder(function)
    one, other = binder.bind((), {"a": 1, "b": 2}), binder.bind((), {"b": 2, "a": 1})
    assert binder.encode(one) == binder.encode(other)


def test_arguments_the_function_would_not_take_are_its_own_error() -> None:
    def function(a: int) -> None: ...

    with pytest.raises(TypeError, match="missing a required argument: 'a'"):
        Binder(function).bind((), {})


def test_ignored_parameters_do_not_count_and_must_exist() -> None:
    def function(request: object, page: int) -> None: ...

    binder = Binder(function, ignore=["request"])
    keys = {binder.encode(binder.bind((object(), 1), {})) for _ in range(2)}
    assert len(keys) == 1
    with pytest.raises(ConfigurationError, match="ignore='reqest' is not a parameter"):
        Binder(function, ignore=["reqest"])


def test_keys_are_the_same_in_every_process() -> None:
    program = (
        "import enum, collections; from beaker_regions.entries.keys import encode;"
        "Flags = enum.Flag('Flags', ['A', 'B', 'C']);"
        "value = {'a', 'b', 'c', Flags(5)}, {'x': None, 'y': 1}, collections.Counter('abc'), 1.5;"
        "print(encode(value).hex())"
    )
    keys = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(keys) == 1
