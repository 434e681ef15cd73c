"""No page is older than a change, neither in the store nor in the browser."""

from __future__ import annotations

import multiprocessing
import random
import threading
import time
from typing import TYPE_CHECKING

import pytest
from django.db import transaction
from django.http import HttpResponse
from django.test import Client, RequestFactory
from django.utils.http import parse_http_date
from django.views.decorators.cache import never_cache

from beaker_regions.django import region_page
from tests.beaker_regions.children import fork, statuses
from tests.beaker_regions.django.conftest import Row, elsewhere
from tests.beaker_regions.django.pages.conftest import Site

if TYPE_CHECKING:
    from django.http import HttpRequest

on_files = pytest.mark.parametrize("manager", ["file_manager"], indirect=True)


def test_a_browser_asks_each_time_and_gets_304_if_nothing_changed(
    site: Site, browser: Client
) -> None:
    shown = ["old"]
    site.page(
        lambda request: HttpResponse(f"{shown[0]}{site.renders() and ''}"),
        tags=["page"],
    )
    first = browser.get("/page/")
    assert first["Cache-Control"] == "no-cache"
    assert first["ETag"].startswith('"'), "a strong tag: the same bytes"
    for tags in (first["ETag"], f'"other", W/{first["ETag"]}', "*"):
        same = browser.get("/page/", headers={"if-none-match": tags})
        assert (same.status_code, same.content) == (304, b"")
        assert {name: same[name] for name in ("ETag", "Cache-Control")} == {
            name: first[name] for name in ("ETag", "Cache-Control")
        }
    site.cache.invalidate_tags("page")
    known = {"if-none-match": first["ETag"]}
    assert browser.get("/page/", headers=known).status_code == 304, "304 again"
    shown[0] = "new"
    site.cache.invalidate_tags("page")
    changed = browser.get("/page/", headers=known)
    assert (changed.status_code, changed.content) == (200, b"new")
    assert site.renders.count == 3


@on_files
def test_a_page_has_a_date_only_if_no_other_page_can_have_it(
    site: Site, browser: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.show("{{ renders }}", tags=["page"])
    site.show("{% csrf_token %}", "form/")
    site.show("{{ renders }}", "keyed/", vary_by=lambda request: 7)
    started = int(time.time())
    monkeypatch.setattr(time, "time", lambda: started + 0.9)
    for url in ("/page/", "/form/", "/keyed/"):
        assert "Last-Modified" not in browser.get(url), "another page may be made in this second"
    monkeypatch.setattr(time, "time", lambda: started + 2.1)
    page = browser.get("/page/")
    assert parse_http_date(page["Last-Modified"]) in (started, started + 1)
    assert int(page["Age"]) >= 1
    known = {"if-modified-since": page["Last-Modified"]}
    assert browser.get("/page/", headers=known).status_code == 304
    for url in ("/form/", "/keyed/"):
        assert "Last-Modified" not in browser.get(url), "each visitor has another page"
        assert browser.get(url, headers=known).status_code == 200
    site.cache.invalidate_tags("page")
    assert browser.get("/page/", headers=known).content == b"4"


@on_files
def test_headers_of_the_view_stay(site: Site, browser: Client) -> None:
    site.page(
        lambda request: HttpResponse(
            f"{site.renders()}",
            content_type="text/plain; charset=latin-1",
            headers={"ETag": '"of the view"', "Cache-Control": "max-age=60", "X-Name": "a"},
        )
    )
    site.show("", "long/", max_age=60)
    for _ in range(2):
        response = browser.get("/page/")
        assert response.headers.items() >= {
            ("Content-Type", "text/plain; charset=latin-1"),
            ("ETag", '"of the view"'),
            ("Cache-Control", "max-age=60"),
            ("X-Name", "a"),
        }
        assert response.charset == "latin-1"
    assert browser.get("/long/")["Cache-Control"] == "max-age=60"


@on_files
def test_without_max_age_browsers_store_no_copy(site: Site, browser: Client) -> None:
    """The Back button shows a copy without asking, unless the browser may not store one."""
    site.show("{{ renders }}", max_age=None)
    for _ in range(2):
        response = browser.get("/page/")
        assert response.content == b"1"
        assert "no-store" in response["Cache-Control"]
    assert "no-store" in Client().post("/page/")["Cache-Control"]
    around = region_page(site.cache["functions"])(
        lambda request: site.render(request, "{{ renders }}")
    )
    site.add(never_cache(around), "around/")
    for _ in range(2):
        response = browser.get("/around/")
        assert response.content == b"3"
        assert "no-store" in response["Cache-Control"]


@on_files
def test_with_djangos_own_middleware(site: Site, browser: Client, settings: object) -> None:
    settings.MIDDLEWARE = [  # type: ignore[attr-defined]
        "django.middleware.gzip.GZipMiddleware",
        "django.middleware.http.ConditionalGetMiddleware",
        *settings.MIDDLEWARE,  # type: ignore[attr-defined]
    ]
    site.show("<form>{% csrf_token %}</form>{{ renders }}" + "!" * 500)
    accept = {"accept-encoding": "gzip"}
    first = browser.get("/page/", headers=accept)
    again = browser.get("/page/", headers=accept)
    assert first["Content-Encoding"] == again["Content-Encoding"] == "gzip"
    known = {**accept, "if-none-match": again["ETag"]}
    assert browser.get("/page/", headers=known).status_code == 304
    assert site.renders.count == 1


def test_a_transaction_sees_its_own_page_and_others_the_committed_one(site: Site, row: Row) -> None:
    site.page(lambda request: HttpResponse(row.read()), tags=[f"user:{row.pk}"])

    def seen() -> str:
        return Client().get("/page/").content.decode()

    assert seen() == "old"
    with transaction.atomic():
        row.write("new")
        assert (seen(), elsewhere(seen)) == ("new", "old")
    assert (seen(), elsewhere(seen)) == ("new", "new")


def test_no_page_is_older_than_a_change_that_has_returned(site: Site) -> None:
    """Processes and threads read a page with a fragment; in turns, another process changes the
    data that both show."""
    truth = multiprocessing.get_context("fork").Array("q", 2)
    announced = multiprocessing.get_context("fork").Array("q", 2)
    stop = multiprocessing.get_context("fork").Event()
    hits = multiprocessing.get_context("fork").Value("q", 0)

    def slow(index: int) -> int:
        value: int = truth[index]
        time.sleep(random.choice([0, 0.001, 0.01]))
        return value

    def view(request: HttpRequest) -> HttpResponse:
        source = '{{ one }} {% region "functions" tags="inner" %}{{ two }}{% endregion %}'
        return site.render(request, source, one=slow(0), two=lambda: slow(1))

    page = region_page(site.cache["functions"], tags=["outer"])(view)
    factory = RequestFactory()

    def read() -> None:
        while not stop.is_set():
            expected = announced[:]
            seen = [int(each) for each in page(factory.get("/page/")).content.split()]
            if any(each < least for each, least in zip(seen, expected, strict=True)):
                raise AssertionError(f"{seen} after {expected}")

    def read_in_threads() -> None:
        failures: list[BaseException] = []

        def note() -> None:
            try:
                read()
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=note) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        with hits.get_lock():
            hits.value += site.cache["functions"].stats["hits"]
        if failures:
            raise failures[0]

    def change() -> None:
        for turn in range(120):
            index = turn % 2
            truth[index] += 1
            site.cache.invalidate_tags(["outer", "inner"][index])
            announced[index] = truth[index]
            time.sleep(random.uniform(0, 0.015))

    readers = [fork(read_in_threads) for _ in range(3)]
    writer = fork(change)
    assert statuses([writer]) == [0]
    stop.set()
    assert statuses(readers) == [0] * 3
    assert hits.value > 10, "pages are shared between the changes"
