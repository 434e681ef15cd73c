"""The queries of a page, and that it is never stale."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from tasks.lists import changes, deletions
from tasks.models import Task
from tests.tasks.conftest import Browser, MakeBrowser, Page, at_once

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.django_db(transaction=True)


def cost(look: Callable[[], object]) -> tuple[int, int]:
    """Return the queries of a request: those for lists and tasks, and all others."""
    with CaptureQueriesContext(connection) as queries:
        look()
    asked = [query["sql"] for query in queries if not is_of_the_outbox(query["sql"])]
    tasks = sum("tasks_task" in query for query in asked)
    return tasks, len(asked) - tasks


def is_of_the_outbox(query: str) -> bool:
    """Whether a query is the outbox's, which each process sends once a second."""
    return "regions_outbox" in query


@pytest.fixture(params=["visitor", "user"])
def mine(request: pytest.FixtureRequest, browser: MakeBrowser, user: User) -> Browser:
    mine = browser(user if request.param == "user" else None)
    mine.add("a", "b")
    mine.finish("a")
    return mine


@pytest.mark.parametrize("show", ["all", "open", "done"])
def test_a_second_request_sends_no_query_for_tasks(mine: Browser, show: str) -> None:
    mine.get(show=show)
    tasks, others = cost(lambda: mine.get(show=show))
    assert tasks == 0
    assert others <= 2, "the session, and the user"


def test_the_first_request_after_a_change_sends_two_queries_for_tasks(mine: Browser) -> None:
    mine.get()
    mine.client.post("/", {"name": "c"})
    assert cost(mine.get)[0] == 2, "the numbers, and the page"


def test_without_a_list_a_request_sends_no_query(browser: MakeBrowser, user: User) -> None:
    assert cost(browser().get) == (0, 0)
    newcomer = browser(user)
    newcomer.get()
    assert cost(newcomer.get)[0] == 0


def test_a_change_in_one_list_does_not_affect_the_pages_of_others(
    mine: Browser, browser: MakeBrowser, other: User
) -> None:
    mine.get()
    browser(other).add("theirs")
    assert cost(mine.get)[0] == 0


def test_a_change_is_at_once_visible_in_the_users_other_browser(
    browser: MakeBrowser, user: User
) -> None:
    one, another = browser(user), browser(user)

    def seen(page: Page) -> None:
        for show in ("all", "open", "done"):
            here, there = one.get(show=show), another.get(show=show)
            assert there.rows == here.rows
            assert there.counts == here.counts
        assert another.get().rows == page.rows

    assert another.get().rows == []
    seen(one.add("a", "b"))
    task = one.id_of("a")
    seen(one.post(f"/tasks/{task}/edit/", name="c"))
    seen(one.post(f"/tasks/{task}/done/", done=1))
    seen(one.post("/tasks/clear-done/"))
    assert another.get().names == ["b"]
    seen(one.post(f"/tasks/{one.id_of('b')}/delete/"))
    assert another.get().names == []


def test_a_rolled_back_change_affects_neither_page_nor_stored_queries(
    mine: Browser,
) -> None:
    before = mine.get()
    task = Task.objects.get(name="a")
    with transaction.atomic():
        changes.add(task.list, "never")
        changes.edit(task.list_id, task.pk, "never", None)
        changes.set_done(task.list_id, task.pk, False)
        deletions.clear_done(task.list_id)
        deletions.delete(task.list_id, Task.objects.get(name="b").pk)
        transaction.set_rollback(True)
    after = mine.get()
    assert after.rows == before.rows
    assert after.counts == before.counts
    assert cost(mine.get)[0] == 0


def test_a_change_is_invisible_before_its_commit(mine: Browser) -> None:
    before = mine.get()
    task = Task.objects.get(name="b")
    with transaction.atomic():
        changes.edit(task.list_id, task.pk, "renamed", None)
        (page,) = at_once(mine.get)
        assert page.rows == before.rows
    assert mine.get().names == ["renamed", "a"]


def test_a_page_always_shows_its_browsers_own_changes(browser: MakeBrowser, user: User) -> None:
    """Each browser adds tasks and reads the list after each, while all others do the same."""

    def use(one: Browser, number: int) -> None:
        own: list[str] = []
        for n in range(6):
            own.insert(0, f"{number} {n}")
            one.client.post("/", {"name": own[0]})
            page = one.get()
            assert [name for name in page.names if name in own] == own
            assert page.counts[0] >= len(own)

    at_once(*(lambda number=number: use(browser(user), number) for number in range(4)))
    assert len(browser(user).get().names) == 24
