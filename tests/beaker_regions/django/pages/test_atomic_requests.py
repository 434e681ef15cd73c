"""Pages where every request is a transaction (ATOMIC_REQUESTS)."""

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


def test_a_page_is_kept_where_every_request_is_a_transaction(site: Site, browser: Client) -> None:
    site.page(listing(site), tags=["users"])
    assert body(browser) == body(browser) == "[] 1"
    User.objects.create(username="ann")
    site.cache.invalidate_tags("users")
    assert body(browser) == body(browser) == "['ann'] 2"
    assert not connection.in_atomic_block


def test_pages_of_a_class_are_kept_too(site: Site, browser: Client) -> None:
    @method_decorator(region_page(site.cache["functions"]), name="dispatch")
    class Listing(View):
        def get(self, request: HttpRequest) -> HttpResponse:
            assert connection.in_atomic_block
            return HttpResponse(str(site.renders()))

    site.add(Listing.as_view())
    assert body(browser) == body(browser) == "1"


@pytest.mark.parametrize("error", [Http404, ZeroDivisionError])
@pytest.mark.parametrize("method", ["get", "post", "head"])
def test_what_a_view_that_raises_has_written_is_rolled_back(
    site: Site, method: str, error: type[Exception]
) -> None:
    def view(request: HttpRequest) -> HttpResponse:
        User.objects.create(username="ann")
        raise error

    site.page(view)
    getattr(Client(raise_request_exception=False), method)("/page/")
    assert names() == []


def test_what_a_view_writes_is_committed_and_invalidated(site: Site) -> None:
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


def test_a_page_of_rows_that_were_rolled_back_is_not_kept(site: Site, browser: Client) -> None:
    def view(request: HttpRequest) -> HttpResponse:
        User.objects.create(username="ann")
        shown = HttpResponse(f"{names()} {site.renders()}")
        transaction.set_rollback(True)
        return shown

    site.page(view)
    assert [body(browser), body(browser)] == ["['ann'] 1", "['ann'] 2"]
    assert names() == []


@pytest.mark.parametrize("outside", [False, True])
def test_a_view_that_is_not_to_be_atomic_is_not(
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


def test_what_changes_during_a_transaction_is_not_hidden_by_its_page(
    site: Site, browser: Client
) -> None:
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


def test_an_asynchronous_view_is_refused_as_it_is_by_django(site: Site, browser: Client) -> None:
    async def view(request: HttpRequest) -> HttpResponse:
        return HttpResponse("shown")

    site.page(view)
    with pytest.raises(RuntimeError, match="ATOMIC_REQUESTS"):
        browser.get("/page/")
