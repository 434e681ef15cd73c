"""The list: used by its owner, hidden from others, and changed by several browsers at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session

from tasks.models import Task, TaskList
from tests.tasks.conftest import Browser, MakeBrowser, at_once

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(params=["visitor", "user"])
def mine(request: pytest.FixtureRequest, browser: MakeBrowser, user: User) -> Browser:
    """The browser of a visitor or a user, who may both have a list."""
    return browser(user if request.param == "user" else None)


def test_tasks_are_added_on_top_renamed_finished_opened_again_and_deleted(mine: Browser) -> None:
    page = mine.add("first", "second")
    assert page.names == ["second", "first"]
    assert "Added “second”." in page.text
    task = mine.id_of("first")
    page = mine.post(f"/tasks/{task}/edit/", name=" renamed ")
    assert page.names == ["second", "renamed"]
    for _ in range(2):  # a double click
        page = mine.post(f"/tasks/{task}/done/", done=1)
        assert [row.done for row in page.rows] == [False, True]
        assert page.counts == [2, 1, 1]
    page = mine.post(f"/tasks/{task}/done/", done=0)
    assert [row.done for row in page.rows] == [False, False]
    page = mine.post(f"/tasks/{task}/delete/")
    assert page.names == ["second"]
    assert "Deleted “renamed”." in page.text


@pytest.mark.parametrize("was", ["x", "[1]", '["first", 1]', "[" * 100_000])
def test_an_unusable_former_state_is_ignored(mine: Browser, was: str) -> None:
    mine.add("first")
    page = mine.post(f"/tasks/{mine.id_of('first')}/edit/", name="second", was=was)
    assert page.names == ["second"]


def test_clearing_done_tasks_keeps_open_ones(mine: Browser) -> None:
    mine.add("a", "b", "c")
    mine.finish("a", "c")
    page = mine.post("/tasks/clear-done/")
    assert page.names == ["b"]
    assert "Deleted 2 done tasks." in page.text


def test_filters_show_their_tasks_and_counts(mine: Browser) -> None:
    mine.add("a", "b", "c")
    mine.finish("b")
    assert mine.get(show="all").names == ["c", "a", "b"]
    assert mine.get(show="open").names == ["c", "a"]
    assert mine.get(show="done").names == ["b"]
    assert mine.get().counts == [3, 2, 1]


def test_a_change_redirects_to_its_filter_and_page(mine: Browser) -> None:
    mine.add("a", "b")
    place = "?show=open&page=2"
    task = mine.id_of("a")
    for path, fields in (("done", {"done": "1"}), ("edit", {"name": "c"}), ("delete", {})):
        answer = mine.client.post(f"/tasks/{task}/{path}/{place}", fields)
        assert answer.status_code == 302
        assert answer["Location"].partition("#")[0] == f"/{place}"


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("", "Nothing to do yet"),
        ("show=open", "All done"),
        ("show=done", "Nothing done yet"),
    ],
)
def test_a_page_without_tasks_says_why(browser: MakeBrowser, query: str, says: str) -> None:
    mine = browser()
    if query:
        mine.add("task")
    if query == "show=open":
        mine.finish("task")
    assert says in mine.get(f"/?{query}").text


def test_long_lists_have_pages_of_50(browser: MakeBrowser, user: User) -> None:
    tasks = TaskList.objects.create(user=user)
    Task.objects.bulk_create(Task(list=tasks, name=str(n), done=n == 7) for n in range(102))
    mine = browser(user)
    first, last = mine.get(show="open"), mine.get(show="open", page=3)
    assert first.names == [str(n) for n in range(101, 51, -1)]
    assert mine.get(show="open", page=2).names[0] == "51"
    assert "Page 1 of 3" in first.text
    assert '?show=open&amp;page=2"' in first.html
    assert last.names == ["0"]
    assert 'rel="next"' not in last.html
    for number in (4, 10**30):
        assert mine.get(show="open", page=number).response.url == "/?show=open&page=3"
    # Without its last task, the last page is gone, and the page before it is shown, at its address.
    page = mine.post(f"/tasks/{last.rows[0].id}/delete/?show=open&page=3")
    assert "Page 2 of 2" in page.text
    assert page.response.redirect_chain[-1][0] == "/?show=open&page=2"


@pytest.mark.parametrize(
    "query",
    [
        *("page=0", "page=-1", "page=x", "page=", f"page={'9' * 5000}", "page=1.5", "page=%00"),
        *("show=nothing", "show=", "show=%00", "show=ALL", "%FF=%FF", "page=%FF", "a=b&a=c&"),
    ],
)
def test_an_invalid_query_string_shows_the_first_page(browser: MakeBrowser, query: str) -> None:
    mine = browser()
    mine.add("task")
    page = mine.get(f"/?{query}")
    assert page.status == 200
    assert page.names == ["task"]
    assert mine.post(f"/?{query}", name="next").names == ["next", "task"]


@pytest.mark.parametrize(
    "path", ["/", "/accounts/login/", "/accounts/signup/", "/files/", "/tasks/1/edit/", "/none/"]
)
def test_reading_creates_no_session_and_no_list(
    browser: MakeBrowser, user: User, path: str
) -> None:
    visitor = browser()
    visitor.get(path)
    assert not Session.objects.exists()
    assert "sessionid" not in visitor.client.cookies
    browser(user).get(path)
    assert not TaskList.objects.exists()


def test_a_refused_task_creates_no_list(browser: MakeBrowser) -> None:
    browser().add("")
    assert not TaskList.objects.exists()
    assert not Session.objects.exists()


# -- other people --------------------------------------------------------------------------


@pytest.mark.parametrize("stranger", ["visitor", "visitor with a list", "user", "logged out"])
def test_tasks_of_others_are_not_found_and_do_not_change(
    mine: Browser, browser: MakeBrowser, other: User, stranger: str
) -> None:
    mine.add("mine", "open")
    mine.finish("mine")
    before = mine.get().rows
    theirs = browser(other if stranger in {"user", "logged out"} else None)
    if stranger != "visitor":
        theirs.add("theirs")
    if stranger == "logged out":
        theirs.log_out()
    for row in before:
        for path, fields in (("edit", {"name": "x"}), ("done", {"done": 0}), ("delete", {})):
            address = f"/tasks/{row.id}/{path}/"
            page = theirs.post(address, **fields)
            assert page.status == 404
            assert ("Deleted elsewhere" if path == "edit" else "Not found") in page.text
            assert row.name not in page.text.split()
        assert theirs.get(f"/tasks/{row.id}/edit/").status == 404
    theirs.post("/tasks/clear-done/")
    assert mine.get().rows == before
    assert mine.add("more").rows[1:] == before
    assert "mine" not in theirs.get().names


@pytest.mark.parametrize("task_id", [0, 10**18, 10**30])
def test_a_nonexistent_task_is_not_found(mine: Browser, task_id: int) -> None:
    mine.add("task")
    assert mine.get(f"/tasks/{task_id}/edit/").status == 404
    for path in ("edit", "done", "delete"):
        assert mine.post(f"/tasks/{task_id}/{path}/", name="x").status == 404
    assert mine.get().names == ["task"]


# -- several at once -----------------------------------------------------------------------


def adding(one: Browser, *names: str) -> Callable[[], object]:
    return lambda: one.add(*names)


@pytest.mark.parametrize("with_a_list", [False, True])
def test_simultaneously_added_tasks_are_all_stored(
    browser: MakeBrowser, user: User, with_a_list: bool
) -> None:
    if with_a_list:
        browser(user).add("before")
    names = [[f"{n} {m}" for m in range(5)] for n in range(6)]
    at_once(*(adding(browser(user), *own) for own in names))
    wanted = {name for own in names for name in own} | ({"before"} if with_a_list else set())
    page = browser(user).get()
    assert len(page.names) == len(wanted)
    assert set(page.names) == wanted
    assert page.counts[0] == len(wanted)


def test_simultaneous_changes_of_one_list_raise_no_error(browser: MakeBrowser, user: User) -> None:
    list_id = TaskList.objects.create(user=user).pk

    def tick() -> list[int]:
        one, answers = browser(user), []
        for task in [Task.objects.create(list_id=list_id, name="task") for _ in range(20)]:
            for done in (1, 0, 1):
                path = f"/tasks/{task.pk}/done/"
                answers.append(one.client.post(path, {"done": done}).status_code)
        return answers

    def clear() -> list[int]:
        one = browser(user)
        return [one.client.post("/tasks/clear-done/").status_code for _ in range(60)]

    answers = at_once(tick, tick, clear, clear)
    # A task that the other threads have cleared is not found. Nothing else is an error.
    assert {status for statuses in answers for status in statuses} <= {302, 404}
    left = Task.objects.filter(list=list_id).values_list("id", "name", "done")
    assert [tuple(row)[:3] for row in browser(user).get().rows] == list(left)
