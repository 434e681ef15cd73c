"""The list's pages are kept whole, for each who may see them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

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
def test_a_session_that_holds_no_more_shows_nothing(
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


def test_a_new_name_is_shown_at_once(browser: MakeBrowser, user: User) -> None:
    mine = browser(user)
    mine.add("a task")
    mine.get()
    user.username = "renamed"
    user.save()
    assert "renamed" in mine.get().text


def test_a_page_that_is_kept_asks_the_database_nothing(browser: MakeBrowser, user: User) -> None:
    mine = browser(user)
    mine.add("a task")
    mine.get()  # with the message
    mine.get()
    with CaptureQueriesContext(connection) as queries:
        page = mine.get()
    asked = [query["sql"] for query in queries if not is_of_the_outbox(query["sql"])]
    assert (page.names, asked) == (["a task"], [])


def test_a_list_that_goes_from_user_to_nobody_is_shown_to_nobody(
    browser: MakeBrowser, user: User
) -> None:
    mine, again = browser(user), browser(user)
    mine.add("a task")
    assert again.get().names == ["a task"]
    user.task_list.delete()
    assert mine.get().names == again.get().names == []
