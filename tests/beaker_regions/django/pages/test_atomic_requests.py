"""Pages under ATOMIC_REQUESTS."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.http import Http404, HttpRequest, HttpResponse
from django.test import Client
from django.utils.decorators import method_decorator
from django.views.generic import View

from beaker_regions.django import region_page
from tests.beaker_regions.django.pages.conftest import Site

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture(autouse=True)
def atomic_requests(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", True)


def names() -> list[str]:
    return list(User.objects.order_by("username").values_list("username", flat=True))


def body(browser: Client) -> str:
    return browser.get("/page/").content.decode()


def listing(site: Site) -> Callable[[HttpRequest], HttpResponse]:
    def view(request: HttpRequest) -> HttpResponse:
        assert connection.in_atomic_block
        return HttpResponse(f"{names()} {site.renders()}")

    return view


def test_a_page_is_stored_after_its_transaction(site: Site, browser: Client) -> None:
    site.page(listing(site), tags=["users"])
    assert body(browser) == body(browser) == "[] 1"
    User.objects.create(username="ann")
    site.cache.invalidate_tags("users")
    assert body(browser) == body(browser) == "['ann'] 2"
    assert not connection.in_atomic_block


def test_a_page_of_a_class_is_stored(site: Site, browser: Client) -> None:
    @method_decorator(region_page(site.cache["functions"]), name="dispatch")
    class Listing(View):
        def get(self, request: HttpRequest) -> HttpResponse:
            assert connection.in_atomic_block
            return HttpResponse(str(site.renders()))

    site.add(Listing.as_view())
    assert body(browser) == body(browser) == "1"


@pytest.mark.parametrize("error", [Http404, ZeroDivisionError])
@pytest.mark.parametrize("method", ["get", "post", "head"])
def test_the_changes_of_a_view_that_raises_are_rolled_back(
    site: Site, method: str, error: type[Exception]
) -> None:
    def view(request: HttpRequest) -> HttpResponse:
        User.objects.create(username="ann")
        raise error

    site.page(view)
    getattr(Client(raise_request_exception=False), method)("/page/")
    assert names() == []


def test_the_changes_of_a_view_are_committed_and_invalidate(site: Site) -> None:
    def view(request: HttpRequest) -> HttpResponse:
        if request.method == "POST":
            User.objects.create(username="ann")
            site.cache.invalidate_tags("users")
            assert connection.in_atomic_block
        return HttpResponse(f"{names()} {site.renders()}")

    site.page(view, tags=["users"])
    browser = Client()
    assert body(browser) == "[] 1"
    assert browser.post("/page/").content == b"['ann'] 2"
    assert body(browser) == body(browser) == "['ann'] 3"


def test_a_page_of_rolled_back_rows_is_not_stored(site: Site, browser: Client) -> None:
    def view(request: HttpRequest) -> HttpResponse:
        User.objects.create(username="ann")
        shown = HttpResponse(f"{names()} {site.renders()}")
        transaction.set_rollback(True)
        return shown

    site.page(view)
    assert [body(browser), body(browser)] == ["['ann'] 1", "['ann'] 2"]
    assert names() == []


@pytest.mark.parametrize("outside", [False, True])
def test_a_non_atomic_view_has_no_transaction(
    site: Site, browser: Client, *, outside: bool
) -> None:
    def view(request: HttpRequest) -> HttpResponse:
        assert not connection.in_atomic_block
        return HttpResponse(str(site.renders()))

    decorators: list[Any] = [transaction.non_atomic_requests, region_page(site.cache["functions"])]
    for decorator in reversed(decorators) if outside else decorators:
        view = decorator(view)
    site.add(view)
    assert body(browser) == body(browser) == "1"


@pytest.mark.parametrize("atomic", [True, False])
def test_a_page_with_fragments_is_stored_if_its_view_is_not_atomic(
    site: Site, browser: Client, caplog: pytest.LogCaptureFixture, *, atomic: bool
) -> None:
    def view(request: HttpRequest) -> HttpResponse:
        return site.render(request, "{% region 'functions' 'a' %}a{% endregion %} {{ renders }}")

    caplog.set_level("INFO", "beaker_regions.django")
    site.page(view if atomic else transaction.non_atomic_requests(view))
    assert [body(browser), body(browser)] == ["a 1", "a 2" if atomic else "a 1"]
    assert ("rendered in a transaction" in caplog.text) is atomic


def test_a_page_within_a_page_is_part_of_its_transaction(site: Site, browser: Client) -> None:
    savepoints = []

    @region_page(site.cache["functions"])
    def inner(request: HttpRequest) -> HttpResponse:
        savepoints.extend(connection.savepoint_ids)
        return HttpResponse(f"{connection.in_atomic_block}")

    def outer(request: HttpRequest) -> Any:
        return inner(request)

    site.page(outer)
    assert body(browser) == "True"
    assert savepoints == []


def test_a_change_during_the_transaction_makes_its_page_stale(site: Site, browser: Client) -> None:
    def view(request: HttpRequest) -> HttpResponse:
        shown = HttpResponse(f"{names()} {site.renders()}")
        if "1" in shown.content.decode():
            other = threading.Thread(target=site.cache.invalidate_tags, args=("users",))
            other.start()
            other.join()
        return shown

    site.page(view, tags=["users"])
    assert body(browser) == "[] 1"
    assert body(browser) == body(browser) == "[] 2"


def test_an_asynchronous_view_is_refused_as_by_django(site: Site, browser: Client) -> None:
    async def view(request: HttpRequest) -> HttpResponse:
        return HttpResponse("shown")

    site.page(view)
    with pytest.raises(RuntimeError, match="ATOMIC_REQUESTS"):
        browser.get("/page/")
