"""Pages that are fetched together with their session."""

from __future__ import annotations

import gc
import tracemalloc
from typing import TYPE_CHECKING, Any

import pytest
from django.http import HttpResponse
from django.test import Client, RequestFactory
from django.utils.cache import patch_vary_headers

from beaker_regions.django import manager, region_page
from tests.beaker_regions.conftest import make_manager
from tests.beaker_regions.stores.proxies import Proxy

pytestmark = pytest.mark.parametrize("manager", ["file_manager"], indirect=True)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.http import HttpRequest

    from tests.beaker_regions.django.pages.conftest import Site
    from tests.servers import Memcached


@pytest.fixture
def proxy(site: Site, memcached: Memcached, settings: Any) -> Iterator[Proxy]:
    settings.SESSION_ENGINE = "beaker_regions.django.sessions"
    proxy = Proxy(memcached.port)
    site.cache = make_manager(type="ext:memcached", url=proxy.address, secret="s", timeout=5)
    manager.use_manager(site.cache)
    yield proxy
    proxy.close()


def by_name(request: HttpRequest) -> Any:
    return request.session.get("name")


def named(name: str) -> Client:
    browser = Client()
    rename(browser, name)
    return browser


def rename(browser: Client, name: str) -> None:
    session = browser.session
    session["name"] = name
    session.save()
    assert session.session_key
    browser.cookies["sessionid"] = session.session_key


def test_a_page_and_its_session_are_one_request(site: Site, proxy: Proxy) -> None:
    def view(request: HttpRequest) -> HttpResponse:
        assert request.session.prefetch is None, "it ends with vary_by"  # type: ignore[attr-defined]
        response = HttpResponse(f"{by_name(request)}, {site.renders()}")
        patch_vary_headers(response, ["Accept-Language"])
        return response

    site.page(view, vary_by=by_name, tags=["name:{vary_by}"])
    browser = named("one")
    for renders in (1, 1):
        assert browser.get("/page/").content == b"one, %d" % renders
    proxy.requests.clear()
    assert browser.get("/page/").content == b"one, 1"
    assert len(proxy.requests) == 1
    # Of another language, it has another page.
    assert browser.get("/page/", headers={"accept-language": "de"}).content == b"one, 2"
    assert browser.get("/page/").content == b"one, 1"


def test_a_session_that_changes_gets_its_new_page(site: Site, proxy: Proxy) -> None:
    site.page(
        lambda request: HttpResponse(f"{by_name(request)}, {site.renders()}"),
        vary_by=by_name,
        tags=["name:{vary_by}"],
    )
    browser = named("one")
    for _ in range(2):
        assert browser.get("/page/").content == b"one, 1"
    rename(browser, "two")
    for _ in range(2):
        assert browser.get("/page/").content == b"two, 2"
    site.cache.invalidate_tags("name:two")
    for _ in range(2):
        assert browser.get("/page/").content == b"two, 3"
    browser.session.flush()
    for renders in (4, 5):  # a shared page that reads the session is not stored
        assert browser.get("/page/").content == b"None, %d" % renders
    rename(browser, "one")
    assert browser.get("/page/").content == b"one, 1"


@pytest.mark.parametrize("deferred", [False, True])
def test_an_invalidation_inside_vary_by_leaves_no_stale_page(
    site: Site, proxy: Proxy, deferred: bool
) -> None:
    def changing(request: HttpRequest) -> Any:
        name = by_name(request)
        if request.headers.get("change"):
            site.cache.invalidate_tags("name:one")
        return name

    site.page(
        lambda _: HttpResponse(f"{site.renders()}"), vary_by=changing, tags=["name:{vary_by}"]
    )
    browser = named("one")
    for _ in range(2):
        assert browser.get("/page/").content == b"1"
    headers = {"change": "1"}
    if deferred:
        with site.cache.deferred_invalidation():
            assert browser.get("/page/", headers=headers).content == b"2"
    else:
        assert browser.get("/page/", headers=headers).content == b"2"


def test_addresses_that_visitors_make_up_do_not_fill_the_memory(site: Site, proxy: Proxy) -> None:
    site.page(
        lambda request: HttpResponse(f"{by_name(request)}, {site.renders()}"),
        vary_by=by_name,
        params=["x"],
        expire=0.001,
    )
    browser = named("one")
    browser.get("/page/")
    tracemalloc.start()
    try:
        for number in range(100):
            browser.get("/page/", {"x": f"{number}" + 100_000 * "x"})
        gc.collect()
        assert tracemalloc.get_traced_memory()[0] < 8 << 20
    finally:
        tracemalloc.stop()


def test_without_its_server_session_and_page_still_work(
    site: Site, proxy: Proxy, memcached: Memcached
) -> None:
    site.page(
        lambda request: HttpResponse(f"{by_name(request)}, {site.renders()}"), vary_by=by_name
    )
    browser = named("one")
    for _ in range(2):
        assert browser.get("/page/").content == b"one, 1"
    memcached.kill()
    assert browser.get("/page/").content == b"one, 2"
    memcached.restart()


def test_a_session_that_is_not_djangos_has_no_prefetch(site: Site, proxy: Proxy) -> None:
    @region_page(site.cache["functions"], vary_by=by_name)
    def view(request: HttpRequest) -> HttpResponse:
        return HttpResponse(f"{by_name(request)}, {site.renders()}")

    for name, seen in (("one", b"one, 1"), ("one", b"one, 1"), (None, b"None, 2")):
        request = RequestFactory().get("/page/")
        request.session = {"name": name} if name else {}  # type: ignore[assignment]
        assert view(request).content == seen
