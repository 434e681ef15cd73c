"""The list's pages are stored whole, for each visitor separately."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from beakercache import cache
from tests.tasks.test_queries import is_of_the_outbox

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.contrib.auth.models import User

    from tests.tasks.conftest import MakeBrowser


def new_password(user: User) -> None:
    user.set_password("another-horse-battery")
    user.save()


def no_longer_active(user: User) -> None:
    user.is_active = False
    user.save()


def deleted(user: User) -> None:
    user.delete()


@pytest.mark.parametrize("change", [new_password, no_longer_active, deleted])
def test_a_session_that_is_no_longer_valid_shows_nothing(
    browser: MakeBrowser, user: User, change: Callable[[User], Any]
) -> None:
    mine = browser(user)
    mine.add("secret plan")
    for _ in range(2):
        assert mine.get().names == ["secret plan"]
    change(user)
    page = mine.get()
    assert page.names == []
    assert "Log in" in page.text


@pytest.mark.parametrize("change", [no_longer_active, deleted])
def test_devices_of_a_refused_user_are_separate_visitors(
    browser: MakeBrowser, user: User, change: Callable[[User], Any]
) -> None:
    mine, other = browser(user), browser(user)
    for device in (mine, other):
        assert device.get().names == []
    change(user)
    mine.add("secret plan")
    for _ in range(2):
        assert mine.get().names == ["secret plan"]
        assert other.get().names == []
    mine.add("another")
    assert mine.get().names == ["another", "secret plan"]


def test_a_removed_authentication_backend(browser: MakeBrowser, user: User, settings: Any) -> None:
    settings.AUTHENTICATION_BACKENDS = [
        f"django.contrib.auth.backends.{name}"
        for name in ("ModelBackend", "AllowAllUsersModelBackend")
    ]
    mine, other = browser(), browser()
    for device, backend in zip((mine, other), settings.AUTHENTICATION_BACKENDS, strict=True):
        device.client.force_login(user, backend)
    del settings.AUTHENTICATION_BACKENDS[1]
    mine.add("secret plan")
    for _ in range(2):
        assert mine.get().names == ["secret plan"]
        assert other.get().names == []


@pytest.mark.parametrize("query", ["?x=1", "?page=1", "?page=7", "?page=x", "?show=all", "?q=a"])
def test_a_page_is_stored_only_at_its_own_address(
    browser: MakeBrowser, user: User, query: str
) -> None:
    mine = browser(user)
    mine.add("a task")
    mine.get()  # with the message
    assert stored_by(lambda: [mine.get(f"/{query}") for _ in range(2)]) == 0
    assert stored_by(lambda: mine.get("/?show=done")) == 1


def stored_by(act: Callable[[], Any]) -> int:
    """Return the number of pages that ``act`` stores."""
    counted = cache["functions"].stats.of("tasks.views.tasks.index")
    before = counted["loads"] - counted["not_kept"]
    act()
    return counted["loads"] - counted["not_kept"] - before


def test_a_new_name_is_shown_at_once(browser: MakeBrowser, user: User) -> None:
    mine = browser(user)
    mine.add("a task")
    mine.get()
    user.username = "renamed"
    user.save()
    assert "renamed" in mine.get().text


def test_a_stored_page_sends_no_query(browser: MakeBrowser, user: User) -> None:
    mine = browser(user)
    mine.add("a task")
    mine.get()  # with the message
    mine.get()
    with CaptureQueriesContext(connection) as queries:
        page = mine.get()
    asked = [query["sql"] for query in queries if not is_of_the_outbox(query["sql"])]
    assert (page.names, asked) == (["a task"], [])


def test_a_list_that_loses_its_user_is_shown_to_no_one(browser: MakeBrowser, user: User) -> None:
    mine, again = browser(user), browser(user)
    mine.add("a task")
    assert again.get().names == ["a task"]
    user.task_list.delete()
    assert mine.get().names == again.get().names == []
