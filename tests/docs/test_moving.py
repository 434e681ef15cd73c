"""The pages about moving over from another library: what they say to write is taken."""

from __future__ import annotations

import ast
import inspect
import re
from typing import TYPE_CHECKING, Any

import pytest
from django.core.cache import cache as django_cache
from flask_caching import Cache as FlaskCache

from beaker_regions import CachedFunction, CacheManager, Counter, Values
from beaker_regions.django import invalidate_model, region_page, row_tags
from beaker_regions.testing import bypassed
from tests.docs.blocks import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PAGES = sorted((ROOT / "docs/how-to").glob("move-from-*.md"))
HERE: dict[str, Callable[..., Any]] = {
    "region_page": region_page,
    "row_tags": row_tags,
    "invalidate_model": invalidate_model,
    "bypassed": bypassed,
}
"""Functions that a page calls by their own name."""


def rows(text: str) -> list[tuple[str, str]]:
    """Return the rows of the tables of a page that have two columns."""
    cells = [
        re.split(r"(?<!\\) \| ", line.strip("| ")) for line in text.splitlines() if "|" in line
    ]
    return [(row[0], row[1]) for row in cells if len(row) == 2]


def calls(cell: str) -> Iterator[ast.Call]:
    """Yield the calls in the code of a cell, those of decorators, too."""
    before = ""
    for span in re.findall(r"`([^`]+)`", cell):
        code = span.removeprefix("@")
        if code.startswith("."):  # of the object before
            code = before.rpartition(".")[0] + code
        before = code
        try:
            tree = ast.parse(code)
        except SyntaxError:
            continue
        yield from (node for node in ast.walk(tree) if isinstance(node, ast.Call))


def meant(function: ast.expr, cache: object) -> Callable[..., Any] | None:
    """Return what a call calls, if the page says it: ``cache`` is the given one."""
    if isinstance(function, ast.Name):
        return HERE.get(function.id)
    if not isinstance(function, ast.Attribute):
        return None
    owner = function.value
    if isinstance(owner, ast.Name) and owner.id == "cache":
        return getattr(cache, function.attr)  # type: ignore[no-any-return]
    if isinstance(owner, ast.Name) and owner.id in ("f", "load"):
        return getattr(CachedFunction, function.attr)  # type: ignore[no-any-return]
    if isinstance(owner, ast.Call) and isinstance(owner.func, ast.Attribute):
        made: dict[str, object] = {"values": Values, "counter": Counter}
        if owner.func.attr in made:
            return getattr(made[owner.func.attr], function.attr)  # type: ignore[no-any-return]
    return None


def refused(call: ast.Call, called: Callable[..., Any]) -> list[str]:
    """Return the keywords of a call that it does not take."""
    names = [keyword.arg for keyword in call.keywords if keyword.arg is not None]
    parameters = inspect.signature(called).parameters
    if {"options", "kwargs"} & parameters.keys():  # those of a region
        return []
    return [name for name in names if name not in parameters]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_what_a_page_says_to_write_is_taken(page: Any) -> None:
    table = rows(page.read_text())
    assert len(table) > 10
    checked = 0
    for there, here in table:
        for call in calls(f"{there} {here}" if here.startswith("the same") else here):
            called = meant(call.func, CacheManager)
            if called is not None:
                assert not refused(call, called), here
                checked += 1
    assert checked > 4


@pytest.mark.parametrize(
    ("name", "peer"), [("django-cache", django_cache), ("flask-caching", FlaskCache)]
)
def test_the_other_library_has_what_is_moved(name: str, peer: object) -> None:
    for there, _ in rows((ROOT / f"docs/how-to/move-from-{name}.md").read_text()):
        for call in calls(there):
            if isinstance(call.func, ast.Attribute) and ast.unparse(call.func.value) == "cache":
                assert not refused(call, getattr(peer, call.func.attr)), there
