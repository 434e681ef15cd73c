"""Which values count as unchangeable: one object of them may be handed to every caller."""

from __future__ import annotations

import datetime
import decimal
import enum
import functools
import sys
import uuid
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeVar

import pytest
from django.utils.safestring import mark_safe

from beaker_regions.entries.unchangeable import size_if_unchangeable

T = TypeVar("T")


class Pair(NamedTuple):
    first: Any
    second: Any = None


class PairWithAttributes(Pair):
    """Its instances have a dict."""


class Text(str):
    """Its instances have a dict."""


class SlottedText(str):
    __slots__ = ("note",)


class Show(enum.StrEnum):
    ALL = "all"


@dataclass(frozen=True, slots=True)
class Row:
    name: Any


@dataclass(frozen=True)
class Page(Generic[T]):
    rows: T


@dataclass
class Changeable:
    name: str


@dataclass(frozen=True)
class FrozenList(list[int]):
    """A list all the same."""


@dataclass(frozen=True)
class Remembering:
    name: str

    @functools.cached_property
    def letters(self) -> list[str]:
        return list(self.name)


class ChildOfPage(Page[int]):
    """Takes new attributes, unlike the frozen class."""


def deep() -> Any:
    value: Any = ()
    for _ in range(100_000):
        value = (value,)
    return value


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        7,
        1.5,
        "text",
        b"bytes",
        decimal.Decimal("1.5"),
        uuid.UUID(int=7),
        datetime.date(2024, 2, 29),
        datetime.datetime(2024, 2, 29, tzinfo=datetime.UTC),
        Show.ALL,
        mark_safe("<b>"),
        (1, ("a", frozenset((2,)))),
        Pair(1, Pair("a")),
        Row("a"),
        Page((Row(1), Row(2))),
    ],
)
def test_values_that_nobody_can_change(value: Any) -> None:
    assert size_if_unchangeable(value) is not None


@pytest.mark.parametrize(
    "value",
    [
        [],
        {},
        set(),
        bytearray(),
        object(),
        memoryview(b""),
        (1, ("a", [])),
        Pair(1, []),
        Row([]),
        Page((Row(1), Row({}))),
        PairWithAttributes(1),
        Text("a"),
        SlottedText("a"),
        Changeable("a"),
        FrozenList(),
        Remembering("a"),
        ChildOfPage(1),
        deep(),
    ],
    ids=lambda value: type(value).__name__,
)
def test_all_other_values(value: Any) -> None:
    assert size_if_unchangeable(value) is None


def test_the_size_is_that_of_all_parts() -> None:
    rows = tuple([(number, "a" * 1000) for number in range(10)])
    size = size_if_unchangeable(rows)
    assert size is not None
    assert size >= 10 * sys.getsizeof("a" * 1000)
