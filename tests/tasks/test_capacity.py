"""The limits on what one browser may store and request. The pages name them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks import throttling
from tasks.lists import capacity, deletions
from tasks.lists.changes import add_many
from tasks.lists.deletions import KEPT
from tasks.lists.queries import Show, found
from tasks.lists.searching import MOST_WORDS, words_of
from tasks.models import Attachment, Deletion, ImportedFile, Task, TaskList
from tests.tasks.conftest import PASSWORD, at_once
from tests.tasks.files.conftest import address, imported  # noqa: F401 a fixture

if TYPE_CHECKING:
    from django.contrib.auth.models import User

    from tests.tasks.conftest import Browser, MakeBrowser
    from tests.tasks.files.conftest import Import

pytestmark = pytest.mark.django_db(transaction=True)

FEW = 5


@pytest.fixture(autouse=True)
def _few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capacity, "MOST", FEW)
    monkeypatch.setattr(capacity, "MOST_OF_VISITOR", FEW)
    throttling.NEW_LISTS.forget("127.0.0.1")


@pytest.fixture(params=["visitor", "user"])
def mine(request: pytest.FixtureRequest, browser: MakeBrowser, user: User) -> Browser:
    return browser(user if request.param == "user" else None)


def test_a_full_list_refuses_tasks_with_the_reason(mine: Browser) -> None:
    page = mine.add(*map(str, range(FEW)))
    assert page.status == 200
    page = mine.add("one more")
    assert page.status == 422
    assert "A list has at most 5 tasks, and this one has 5." in page.errors_beside("name")
    assert page.typed("name") == "one more"
    assert len(mine.get().names) == FEW
    mine.post(f"/tasks/{mine.id_of('0')}/delete/")
    assert mine.add("one more").names[0] == "one more"


def test_simultaneous_requests_do_not_exceed_the_limit(browser: MakeBrowser, user: User) -> None:
    browser(user).add("first")
    pages = at_once(*(lambda: browser(user).add("more") for _ in range(FEW + 3)))
    assert sorted(page.status for page in pages) == [200] * (FEW - 1) + [422] * 4
    assert Task.objects.count() == FEW


def test_too_many_lines_create_no_task_at_all(mine: Browser, imported: Import) -> None:  # noqa: F811
    mine.add("before")
    imported({"a.txt": "".join(f"{number}\n" for number in range(FEW)).encode()})
    digest = ImportedFile.objects.get().digest
    page = mine.post(address("a.txt", "tasks/"), digest=digest)
    assert page.status == 422
    assert "5 more are 1 too many." in page.text
    assert mine.get().names == ["before"]


def test_deleted_tasks_come_back_only_if_there_is_room(mine: Browser) -> None:
    mine.add(*map(str, range(FEW)))
    mine.finish("0", "1")
    mine.post("/tasks/clear-done/")
    deletion = Deletion.objects.get()
    mine.add("new")
    page = mine.post(f"/tasks/undo/{deletion.pk}/")
    assert "A list has at most 5 tasks, and this one has 4." in page.text
    mine.post(f"/tasks/{mine.id_of('new')}/delete/")
    assert "Brought back 2 tasks." in mine.post(f"/tasks/undo/{deletion.pk}/").text


def test_alternately_adding_and_deleting_is_limited_too(mine: Browser) -> None:
    for round_ in range(3):
        mine.add(*(f"{round_} {number}" for number in range(FEW)))
        for row in mine.get().rows:
            mine.post(f"/tasks/{row.id}/delete/")
    mine.add("more")
    kept = Task.with_deleted.order_by("pk").values_list("name", flat=True)
    # Those that were deleted first have gone: each round deletes from the top.
    assert list(kept) == [
        *(f"1 {number}" for number in range(FEW - 1)),
        *(f"2 {number}" for number in range(FEW)),
        "more",
    ]


def test_alternately_deleting_and_undoing_is_limited_too(user: User) -> None:
    tasks = TaskList.objects.create(user=user)
    add_many(tasks, ["one"])
    task = Task.objects.get()
    for _ in range(KEPT + 10):
        _, deletion = deletions.delete(tasks.pk, task.pk)
        deletions.undo(tasks.pk, deletion.pk)
    assert Deletion.objects.count() <= KEPT + 2


def test_logging_in_loses_no_task_until_the_list_is_far_over_its_limit(
    browser: MakeBrowser, user: User
) -> None:
    browser(user).add(*map(str, range(FEW)))
    for known in (2, 3):
        visitor = browser()
        visitor.add(*(f"{known} {number}" for number in range(FEW)))
        visitor.log_in(user)
        assert visitor.get().counts[0] == known * FEW
    visitor = browser()
    visitor.add("too late")
    page = visitor.post("/accounts/login/", username=user.username, password=PASSWORD)
    assert "Your list is full" in page.text
    assert page.counts[0] == 3 * FEW


def test_an_address_can_create_a_limited_number_of_lists(
    browser: MakeBrowser, user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "tasks.lists.ownership.NEW_LISTS",
        throttling.Limit("new lists in a test", most=2, seconds=60),
    )
    first = browser()
    assert first.add("a").status == 200
    assert browser().add("b").status == 200
    page = browser().add("c")
    assert page.status == 422
    assert "Log in or sign up" in page.errors_beside("name")
    assert first.add("d").status == 200, "a visitor with a list can still use it"
    assert browser(user).add("e").status == 200


def test_a_task_has_a_limited_number_of_files(
    mine: Browser,
    imported: Import,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(capacity, "MOST_FILES", 2)
    imported(dict.fromkeys("abc", b""))
    mine.add("Write")
    task = mine.id_of("Write")
    for name in "aba":
        assert "Attached to" in mine.post(address(name, "attach/"), task=task).text
    assert "A task has at most 2 files." in mine.post(address("c", "attach/"), task=task).text
    assert Attachment.objects.count() == 2


# -- searching -----------------------------------------------------------------------------


def test_a_search_has_a_limited_number_of_words_and_the_page_says_so(mine: Browser) -> None:
    words = [f"w{number}" for number in range(MOST_WORDS + 1)]
    mine.add(" ".join(words[:MOST_WORDS]))
    page = mine.get(q=" ".join(words))
    assert len(page.names) == 1
    assert f"A search looks for its first {MOST_WORDS} words" in page.text
    assert page.typed("q") == " ".join(words[:MOST_WORDS])
    assert "left out" not in mine.get(q=" ".join(words[:MOST_WORDS])).text
    assert words_of("a b a") == ["a", "b"]


def test_a_search_with_many_near_matches_takes_no_longer(user: User) -> None:
    tasks = TaskList.objects.create(user=user)
    Task.objects.bulk_create(Task(list=tasks, name="a" * 255) for _ in range(1000))
    search = " ".join("a" * length + "b" for length in range(20, 20 + MOST_WORDS))
    began = time.monotonic()
    for _ in range(5):
        assert not found(tasks.pk, Show.ALL, search).exists()
    assert time.monotonic() - began < 30


@settings(max_examples=50, deadline=None)
@given(st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=5), st.data())
def test_a_part_of_a_name_is_found_in_any_case(name: str, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(name)))
    part = name[start : data.draw(st.integers(start, len(name)))]
    file = ImportedFile(path=name, path_digest="x", size=0, imported_at="2030-01-01T00:00Z")
    file.save()
    try:
        assert ImportedFile.objects.filter(path__contains_folded=part).exists()
        assert ImportedFile.objects.exclude(path__contains_folded=f"{part}%_").exists()
    finally:
        file.delete()
