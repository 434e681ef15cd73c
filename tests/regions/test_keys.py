"""Two calls share a key exactly when they pass the same values to the same parameters."""

from __future__ import annotations

import datetime
import enum
import os
import pathlib
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regions import ConfigurationError, UnkeyableArgument
from regions.keys import Binder, encode

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary()
    | st.decimals(allow_nan=False)
    | st.dates()
    | st.datetimes()
    | st.timedeltas()
    | st.uuids()
)
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


def identity(value: Any) -> Any:
    """What must be the same for two values to share a key: types and contents, all the way."""
    if isinstance(value, list | tuple):
        return type(value), [identity(item) for item in value]
    if isinstance(value, dict):
        return dict, sorted((repr(k), repr(identity(v))) for k, v in value.items())
    if isinstance(value, frozenset):
        return frozenset, sorted(repr(identity(item)) for item in value)
    return type(value), repr(value)


@given(values, values)
def test_keys_are_equal_exactly_for_equal_values_of_equal_types(one: Any, other: Any) -> None:
    assert (encode(one) == encode(other)) == (identity(one) == identity(other))


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


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Colour.RED, Shade.RED),
        (Point(1, 2), Size(1, 2)),
        (Point(1, 2), Point(2, 1)),
        (Markup("a"), "a"),
        (Point, Size),
    ],
)
def test_classes_count(one: Any, other: Any) -> None:
    assert encode(one) != encode(other)
    assert encode(one) == encode(one)


@pytest.mark.parametrize("value", [object(), float("nan"), iter([]), lambda: None, [object()]])
def test_an_argument_without_a_stable_key_is_refused_by_name(value: Any) -> None:
    def report(year: int, source: Any) -> None: ...

    binder = Binder(report)
    with pytest.raises(UnkeyableArgument, match=r"report: argument 'source'.*ignore=\['source'\]"):
        binder.encode(binder.bind((2026, value), {}))


def test_a_value_that_contains_itself_is_refused() -> None:
    def function(value: Any) -> None: ...

    endless: list[Any] = []
    endless.append(endless)
    binder = Binder(function)
    with pytest.raises(UnkeyableArgument):
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
        "from regions.keys import encode; print(encode(({'a', 'b', 'c'}, {'x': None}, 1.5)).hex())"
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
