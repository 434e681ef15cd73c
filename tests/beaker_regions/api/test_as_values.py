"""A decorated function is copied, pickled and inspected like any other function."""

from __future__ import annotations

import copy
import inspect
import multiprocessing
import pickle
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from django import forms
from django.db import models
from django.db.migrations.writer import MigrationWriter

from beaker_regions.engine import region
from tests.beaker_regions.conftest import make_manager

if TYPE_CHECKING:
    from pathlib import Path

cache = make_manager("as_values", type="ext:memcached", url="127.0.0.1:1", secret="s")
# Created when this module is imported; other tests do not use the region.
region._regions.discard(cache["as_values"])


@cache.region("as_values")
def square(number: int) -> int:
    return number * number


@cache.region("as_values")
async def wait() -> None: ...


@cache.region("as_values")
def colours() -> list[tuple[str, str]]:
    return [("r", "Red"), ("g", "Green")]


@dataclass
class Shop:
    number: int

    @cache.region("as_values")
    def price(self, item: str, *, net: bool = False) -> tuple[int, str]:
        return self.number, item

    @cache.region("as_values")
    @classmethod
    def named(cls, item: str) -> str:
        return f"{cls.__name__} {item}"


@pytest.mark.parametrize("function", [square, wait, Shop.price])
def test_a_function_is_pickled_by_name_and_copied_as_itself(function: Any) -> None:
    for protocol in range(4, pickle.HIGHEST_PROTOCOL + 1):
        assert pickle.loads(pickle.dumps(function, protocol)) is function
    assert copy.copy(function) is function
    assert copy.deepcopy({"function": [function]}) == {"function": [function]}


@pytest.mark.parametrize("of_copy", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_a_method_is_pickled_with_its_object(of_copy: Any) -> None:
    assert of_copy(Shop(7).price)("a") == (7, "a")
    assert of_copy(Shop.named)("a") == "Shop a"


def test_a_function_without_an_importable_name_is_copied_and_not_pickled() -> None:
    @cache.region("as_values")
    def local() -> None: ...

    assert copy.deepcopy(local) is local
    with pytest.raises((pickle.PicklingError, AttributeError), match="local"):
        pickle.dumps(local)


def test_a_process_pool_accepts_a_cached_function(tmp_path: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn) as pool:
        assert list(pool.map(square, [2, 3])) == [4, 9]


def test_the_signature_of_a_method_has_no_self() -> None:
    plain = "(item: 'str', *, net: 'bool' = False) -> 'tuple[int, str]'"
    assert str(inspect.signature(Shop(1).price)) == plain
    assert str(inspect.signature(Shop.price)) == f"(self, {plain[1:]}"
    assert str(inspect.signature(Shop.named)) == "(item: 'str') -> 'str'"
    assert str(inspect.signature(square)) == "(number: 'int') -> 'int'"
    assert inspect.signature(type(square))


def test_forms_and_migrations_accept_a_cached_function() -> None:
    class Form(forms.Form):
        colour = forms.ChoiceField(choices=colours)

    assert Form({"colour": "r"}).is_valid()
    text, imports = MigrationWriter.serialize(models.IntegerField(default=square))
    assert f"default={__name__}.square" in text
    assert f"import {__name__}" in imports
