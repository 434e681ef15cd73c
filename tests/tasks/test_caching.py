"""The page "How this works", and the line at the foot of each page."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tasks.models import TaskList

if TYPE_CHECKING:
    from tests.tasks.conftest import Browser, MakeBrowser

pytestmark = pytest.mark.django_db(transaction=True)
PATH = "/how-this-works/"


def origin(browser: Browser, path: str = "/") -> str:
    found = re.search(r'class="page-origin">(?:<summary>)?([^<]*)', browser.get(path).html)
    assert found
    return found[1]


def with_list(browser: Browser) -> int:
    browser.add("Buy milk")
    browser.get()
    return TaskList.objects.latest("pk").pk


@pytest.mark.parametrize("path", ["/", "/?show=open"])
def test_a_page_says_that_it_comes_from_the_cache(browser: MakeBrowser, path: str) -> None:
    visitor = browser()
    with_list(visitor)
    visitor.get(path)
    assert origin(visitor, path).startswith("From the cache: stored ")
    assert origin(visitor, "/files/").startswith("Made for this request; ")


def test_the_page_shows_stored_values_of_this_list_alone(browser: MakeBrowser) -> None:
    visitor, other = browser(), browser()
    list_id = with_list(visitor)
    page = visitor.get(PATH)
    assert "no-store" in page.response.headers["Cache-Control"]
    assert f"page_of({list_id}, &#x27;all&#x27;, 1)" in page.html
    assert "s ago" in page.text
    assert "by a change of tasks: the tag" in page.text
    other_id = with_list(other)
    for mine, theirs, seen in ((list_id, other_id, visitor), (other_id, list_id, other)):
        text = seen.get(PATH).html
        assert f"list:{mine}<" in text
        assert f"list:{theirs}<" not in text
        assert f"page_of({theirs}," not in text
    stranger = browser().get(PATH)
    assert "you have no list yet" in stranger.text
    assert "page_of(" not in stranger.html


def test_invalidating_there_reaches_this_list_alone(browser: MakeBrowser) -> None:
    visitor, other = browser(), browser()
    with_list(visitor)
    with_list(other)
    assert origin(visitor).startswith("From the cache")
    assert origin(other).startswith("From the cache")
    said = visitor.post(PATH, action="invalidate")
    assert "Everything stored of your list was invalidated" in said.text
    assert "not stored: the next call loads" in said.text
    assert origin(other).startswith("From the cache")
    assert origin(visitor).startswith("Loaded now")


def test_a_load_without_the_cache_is_timed(browser: MakeBrowser) -> None:
    visitor = browser()
    with_list(visitor)
    text = visitor.get(PATH, load="1").text
    assert re.search(r": [\d.]+ \w+ from the cache, [\d.]+ \w+ without it", text)


def test_nothing_is_kept_for_a_browser_that_asks_so(browser: MakeBrowser) -> None:
    visitor = browser()
    with_list(visitor)
    visitor.post(PATH, action="keep_nothing")
    for _ in range(2):
        assert origin(visitor).startswith("Loaded now")
    visitor.add("Water the plants")
    assert visitor.get().names == ["Water the plants", "Buy milk"]
    assert "Use the cache again" in visitor.get(PATH).text
    visitor.post(PATH, action="keep")
    visitor.get()
    assert origin(visitor).startswith("From the cache")


def test_the_staff_have_a_link_to_the_regions(browser: MakeBrowser, admin_user: object) -> None:
    assert 'href="/regions/"' not in browser().get().html
    staff = browser()
    staff.client.force_login(admin_user)  # type: ignore[arg-type]
    assert 'href="/regions/"' in staff.get().html
