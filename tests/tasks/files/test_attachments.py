"""Files that belong to tasks: only to a user's own tasks, and only while both exist."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from django.core.management import call_command

from beakercache import cache
from tasks.files.attachments import OFFERED
from tasks.models import Attachment, ImportedFile, Task
from tests.tasks.conftest import at_once
from tests.tasks.files.conftest import address

if TYPE_CHECKING:
    from pathlib import Path

    from django.contrib.auth.models import User

    from tests.tasks.conftest import Browser, MakeBrowser, Page
    from tests.tasks.files.conftest import Import

pytestmark = pytest.mark.django_db(transaction=True)


def attach(browser: Browser, task: int, path: str = "a/plan.txt") -> Page:
    return browser.post(address(path, "attach/"), task=task)


def files(browser: Browser, task: int) -> list[str]:
    """Return the paths that the page of a task shows."""
    page = browser.get(f"/tasks/{task}/edit/")
    return re.findall(r'aria-label="Remove: (.*?)"', page.html)


def offered(browser: Browser, **query: str) -> list[str]:
    """Return the tasks that the file's page offers."""
    page = browser.get(address("a/plan.txt"), **query)
    return re.findall(r"<option[^>]*>(.*?)</option>", page.html)


def attached(browser: Browser) -> list[str]:
    """Return the tasks that have the file, by the file's page."""
    page = browser.get(address("a/plan.txt"))
    return re.findall(r'aria-label="Remove from: (.*?)"', page.html)


@pytest.mark.parametrize("known", [True, False], ids=["user", "visitor"])
def test_both_pages_show_when_a_file_is_attached_and_removed(
    browser: MakeBrowser, user: User, imported: Import, known: bool
) -> None:
    imported({"a/plan.txt": b"", "b.txt": b""})
    mine = browser(user if known else None)
    assert "There is no open task to attach it to." in mine.get(address("a/plan.txt")).text
    mine.add("Write", "Read")
    task = mine.id_of("Write")
    assert (offered(mine), attached(mine), files(mine, task)) == (["Read", "Write"], [], [])

    assert "Attached to “Write”." in attach(mine, task).text
    assert attach(mine, task).status == 200, "once more is the same"
    attach(mine, task, "b.txt")
    assert (offered(mine), attached(mine)) == (["Read"], ["Write"])
    assert files(mine, task) == ["a/plan.txt", "b.txt"]
    assert "2 files" in mine.get().text

    here = ImportedFile.objects.get(path="a/plan.txt").pk
    page = mine.post(f"/tasks/{task}/files/{here}/remove/")
    assert "Removed “a/plan.txt” from the task" in page.text
    assert (attached(mine), files(mine, task)) == ([], ["b.txt"])
    assert "1 file" in mine.get().text
    assert mine.post(f"/tasks/{task}/files/{here}/remove/", next="file").status == 200


def test_attachments_of_other_users_are_invisible_and_unchangeable(
    browser: MakeBrowser, user: User, other: User, imported: Import
) -> None:
    imported({"a/plan.txt": b""})
    mine, strangers = browser(user), [browser(other), browser()]
    mine.add("Mine")
    task = mine.id_of("Mine")
    attach(mine, task)
    remove = f"/tasks/{task}/files/{ImportedFile.objects.get().pk}/remove/"
    for stranger in strangers:
        stranger.add("Own")
        assert "Mine" not in stranger.get(address("a/plan.txt")).text
        assert attach(stranger, task).status == 404
        assert stranger.post(remove).status == 404
    assert Attachment.objects.count() == 1
    assert files(mine, task) == ["a/plan.txt"]


@pytest.mark.parametrize("task", ["", "x", "-1", "9" * 30, "1\0"])
def test_a_missing_task_or_file_is_not_found(
    browser: MakeBrowser, imported: Import, task: str
) -> None:
    imported({"a/plan.txt": b""})
    mine = browser()
    mine.add("Mine")
    assert mine.post(address("a/plan.txt", "attach/"), task=task).status == 404
    own = mine.id_of("Mine")
    for where in ("/files/999999/attach/", f"/files/{'9' * 30}/attach/"):
        assert mine.post(where, task=own).status == 404
    assert mine.get(address("a/plan.txt", "attach/")).status == 405


def test_some_of_many_tasks_are_offered_and_a_search_finds_the_others(
    browser: MakeBrowser, imported: Import
) -> None:
    imported({"a/plan.txt": b""})
    mine = browser()
    mine.add("Älteste %", "Done")
    mine.finish("Done")
    assert "Find a task" not in mine.get(address("a/plan.txt")).text
    lines = "\n".join(f"New {number}" for number in range(OFFERED))
    imported({"names.txt": lines.encode()})
    mine.post(
        address("names.txt", "tasks/"), digest=ImportedFile.objects.get(path="names.txt").digest
    )
    assert offered(mine) == [f"New {number}" for number in range(OFFERED)]
    assert "Find a task" in mine.get(address("a/plan.txt")).text
    assert offered(mine, task="äLTESTE") == ["Älteste %"]
    assert offered(mine, task="%") == ["Älteste %"]
    assert offered(mine, task="done") == []
    assert "No open task has" in mine.get(address("a/plan.txt"), task="done").text


def test_a_file_that_is_imported_again_stays_with_its_tasks(
    browser: MakeBrowser, imported: Import
) -> None:
    imported({"a/plan.txt": b""})
    mine = browser()
    mine.add("Write")
    task = mine.id_of("Write")
    attach(mine, task)
    assert "a/plan.txt 0 bytes" in mine.get(f"/tasks/{task}/edit/").text
    imported({"a/plan.txt": b"changed"})
    assert "a/plan.txt 7 bytes" in mine.get(f"/tasks/{task}/edit/").text


@cache.region("functions", tags=["list:{list_id}"])
def attachments_in(list_id: int) -> int:
    """Return the number of files of each task, as every page of the list shows it."""
    return Attachment.objects.filter(task__list=list_id).count()


def test_a_forgotten_file_is_removed_from_its_tasks(
    browser: MakeBrowser, imported: Import, tmp_path: Path
) -> None:
    imported({"a/plan.txt": b"", "b.txt": b""})
    mine = browser()
    mine.add("Write")
    task = mine.id_of("Write")
    attach(mine, task)
    attach(mine, task, "b.txt")
    list_id = Task.objects.get().list_id
    assert attachments_in(list_id) == 2
    assert files(mine, task) == ["a/plan.txt", "b.txt"]
    (tmp_path / "a" / "plan.txt").unlink()
    call_command("import_data", str(tmp_path), prune=True)
    assert attachments_in(list_id) == 1
    assert files(mine, task) == ["b.txt"]


def test_two_simultaneous_attachments_of_one_file_are_one(
    browser: MakeBrowser, user: User, imported: Import
) -> None:
    imported({"a/plan.txt": b""})
    mine = browser(user)
    mine.add("Write")
    task = mine.id_of("Write")
    pages = at_once(*(lambda: attach(browser(user), task) for _ in range(4)))
    assert [page.status for page in pages] == [200] * 4
    assert Attachment.objects.count() == 1


def test_attaching_needs_a_csrf_token(browser: MakeBrowser, imported: Import) -> None:
    imported({"a/plan.txt": b""})
    stranger = browser(enforce_csrf_checks=True)
    for where in ("attach/", "tasks/"):
        assert stranger.client.post(address("a/plan.txt", where)).status_code == 403
