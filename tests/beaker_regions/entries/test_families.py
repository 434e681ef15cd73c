"""Tags that begin alike are a family: one scope invalidates all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from beaker_regions.engine.invalidation import invalidate
from beaker_regions.engine.transactions import Invalidation
from beaker_regions.entries.entry import family_scope, tag_scope
from beaker_regions.entries.families import scopes_of_tags, set_tag_families, tag_families

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from beaker_regions import CacheManager
    from tests.beaker_regions.conftest import Calls


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    before = tag_families()
    set_tag_families(())
    yield
    set_tag_families(before)


def test_without_families_a_tag_is_one_scope() -> None:
    assert scopes_of_tags(["a:1", "b"]) == (tag_scope("a:1"), tag_scope("b"))


def test_a_tag_has_the_scopes_of_its_families() -> None:
    set_tag_families(["a:", "a:b:", "c:"])
    assert scopes_of_tags(["a:1", "a:b:2", "b"]) == (
        tag_scope("a:1"),
        family_scope("a:"),
        tag_scope("a:b:2"),
        family_scope("a:b:"),
        tag_scope("b"),
    )
    assert family_scope("a:") != tag_scope("a:")


def test_entries_from_before_the_families_were_set_have_them(
    cache: CacheManager, calls: Calls
) -> None:
    """Functions are decorated, and may be called, before all models are loaded."""

    @cache.region("functions", "varying", tags=["row:{number}"])
    def varying(number: int) -> int:
        return calls()

    @cache.region("functions", "fixed", tags=["row:all"])
    def fixed() -> int:
        return calls()

    @cache.region("functions", "made", tags=lambda number: [f"row:{number}"])
    def made(number: int) -> int:
        return calls()

    functions: list[Callable[[], int]] = [lambda: varying(1), fixed, lambda: made(1)]
    for function in functions:
        function()
    set_tag_families(["row:"])
    values = [function() for function in functions]
    assert values == [function() for function in functions]
    region = cache["functions"]
    invalidate([Invalidation(region, frozenset((family_scope("row:"),)))])
    assert not set(values) & {function() for function in functions}
    values = [function() for function in functions]
    cache.invalidate_tags("row:1", "row:all")
    assert not set(values) & {function() for function in functions}
