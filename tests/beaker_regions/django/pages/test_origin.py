"""The line that says where a page came from: right for each request."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
from django.test import Client

from beaker_regions.telemetry import tracing

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse

    from tests.beaker_regions.django.pages.conftest import Site


@pytest.fixture
def page(site: Site) -> str:
    """A page whose load calls a cached function."""

    @site.cache.region("functions", tags=["number:{number}"])
    def square(number: int) -> int:
        return number * number

    def view(request: HttpRequest) -> HttpResponse:
        response = site.render(request, "{{ renders }}{% page_origin %}", square=square(3))
        if "cookie" in request.GET:
            response.set_cookie("a", "b")
        return response

    site.page(view, tags=["a page"], params=["cookie"])
    return "/page/"


def read(path: str, **headers: Any) -> str:
    return Client().get(path, headers=headers).content.decode()


def summary(text: str) -> str:
    found = re.search(r'<details class="page-origin"><summary>(.*?)</summary>', text)
    assert found, text
    return found[1]


def test_a_page_says_whether_it_was_loaded_now(site: Site, page: str) -> None:
    first, second = read(page), read(page)
    assert re.fullmatch(r"Loaded now, in [\d.]+ \w+", summary(first))
    assert re.fullmatch(
        r"From the cache: stored \d+ s ago; [\d.]+ \w+ instead of [\d.]+ \w+", summary(second)
    )
    for text in (first, second):
        assert text.startswith("1")
        assert "<dt>Region</dt><dd>functions</dd>" in text
        assert "<dt>Tags</dt><dd>a page</dd>" in text
        assert "Its load called 1 function: 0 hits, 1 miss." in text
        assert "square</code>: miss, " in text
    site.cache.invalidate_tags("a page")
    third = read(page)
    assert summary(third).startswith("Loaded now")
    assert "Its load called 1 function: 1 hit, 0 misses." in third


def test_a_page_that_is_not_stored_says_why(page: str) -> None:
    for _ in range(2):
        line = summary(read(f"{page}?cookie=1"))
        assert line.startswith("Loaded now")
        assert line.endswith("and not stored: it sets a cookie")


def test_an_answer_of_no_region_says_so(page: str) -> None:
    text = read(f"{page}?another=parameter")
    assert "Made for this request; " in text


def test_a_browsers_copy_stays_current_although_the_line_differs(page: str) -> None:
    read(page)
    client = Client()
    known = client.get(page).headers["ETag"]
    assert client.get(page, headers={"If-None-Match": known}).status_code == 304


def test_nobody_watches_the_calls_of_hits(page: str) -> None:
    before = tracing.watchers
    read(page)
    assert tracing.watchers == before
