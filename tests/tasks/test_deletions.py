"""Deleted tasks can be restored for a limited time; then they are removed for good."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from django.core.management import call_command
from django.utils import timezone

from tasks.lists import changes, deletions
from tasks.lists.deletions import AT_ONCE
from tasks.models import Attachment, Deletion, ImportedFile, Task, TaskList
from tests.tasks.conftest import at_once

if TYPE_CHECKING:
    from django.contrib.auth.models import User

    from tests.tasks.conftest import MakeBrowser

pytestmark = pytest.mark.django_db(transaction=True)


def pass_time(*, enough: bool = True) -> None:
    """Make all deletions as old as the limit, or a minute younger."""
    minute = timedelta(minutes=0 if enough else 1)
    Deletion.objects.update(made_at=timezone.now() - timedelta(days=30) + minute)


@pytest.mark.parametrize("last", ["page", "purge", "delete"])
def test_a_deletion_can_be_undone_for_a_limited_time(
    browser: MakeBrowser, user: User, capsys: pytest.CaptureFixture[str], last: str
) -> None:
    mine = browser(user)
    mine.add("kept", "early", "late")
    mine.post(f"/tasks/{mine.id_of('early')}/delete/")
    pass_time(enough=False)
    call_command("purge_tasks")
    assert "Removed 0 tasks" in capsys.readouterr().out
    early = Deletion.objects.get()
    assert mine.post(f"/tasks/undo/{early.pk}/").names == ["late", "early", "kept"]

    late = mine.id_of("late")
    mine.post(f"/tasks/{late}/delete/")
    deletion = Task.with_deleted.get(pk=late).deletion_id
    pass_time()
    if last == "purge":
        call_command("purge_tasks")
        assert "Removed 1 task for good" in capsys.readouterr().out
    elif last == "delete":
        mine.post(f"/tasks/{mine.id_of('early')}/delete/")
    assert mine.post(f"/tasks/undo/{deletion}/").status == 404
    assert "late" not in mine.get().names
    assert Task.with_deleted.filter(pk=late).exists() is (last == "page")


def test_the_page_of_deleted_tasks_brings_them_back_or_removes_them_for_good(
    browser: MakeBrowser, user: User
) -> None:
    mine, other = browser(user), browser()
    for each in (mine, other):
        each.add("kept", "early", *(f"done {number}" for number in range(4)))
        each.post(f"/tasks/{each.id_of('early')}/delete/")
        each.finish(*(f"done {number}" for number in range(4)))
        each.post("/tasks/clear-done/")
    pass_time(enough=False)
    text = mine.get("/tasks/deleted/").text
    assert "for 30 days after they were deleted" in text
    assert "done 3, done 2, done 1 and 1 more" in " ".join(text.split())
    assert "Removed 5 deleted tasks for good." in mine.post("/tasks/deleted/forget/").text
    assert "Nothing was deleted within the last 30 days." in mine.get("/tasks/deleted/").text
    assert mine.get().names == ["kept"]
    assert Task.with_deleted.count() == 1 + 6
    deletion = Deletion.objects.earliest("pk")
    assert other.post(f"/tasks/undo/{deletion.pk}/").names == ["early", "kept"]


def test_a_visitors_deletion_can_be_undone_after_logging_in(
    browser: MakeBrowser, user: User
) -> None:
    mine = browser()
    mine.add("kept", "gone")
    mine.post(f"/tasks/{mine.id_of('gone')}/delete/")
    mine.log_in(user)
    assert mine.get().names == ["kept"]
    assert mine.post(f"/tasks/undo/{Deletion.objects.get().pk}/").names == ["gone", "kept"]


def test_a_purge_removes_everything_of_a_deletion_and_nothing_else(user: User) -> None:
    tasks, other = TaskList.objects.create(user=user), TaskList.objects.create()
    number = AT_ONCE * 2 + 1
    changes.add_many(tasks, ["gone"] * number)
    file = ImportedFile.objects.create(
        path="a", path_digest="a", size=0, imported_at=timezone.now()
    )
    Attachment.objects.create(task=Task.objects.filter(list=tasks)[0], file=file)
    Task.objects.update(done=True)
    for owner in (tasks, other):
        changes.add(owner, "kept")
        changes.set_done(owner.pk, changes.add(owner, "gone").pk, True)
        deletions.clear_done(owner.pk)
    _, undone = deletions.delete(tasks.pk, changes.add(tasks, "kept").pk)
    deletions.undo(tasks.pk, undone.pk)
    pass_time()
    _, young = deletions.delete(tasks.pk, changes.add(tasks, "young").pk)
    left = Task.with_deleted.filter(list=tasks, name="gone")
    assert left.count() == number + 1 - AT_ONCE, "a deletion purges a limited number"

    assert deletions.purge() == number + 2 - AT_ONCE
    kept = Task.with_deleted.order_by("pk").values_list("name", flat=True)
    assert list(kept) == ["kept", "kept", "kept", "young"]
    assert list(Deletion.objects.all()) == [young]
    assert not Attachment.objects.exists()
    assert ImportedFile.objects.get() == file


def test_simultaneous_undos_of_one_deletion_undo_it_once(user: User) -> None:
    tasks = TaskList.objects.create(user=user)
    for name in ("a", "b"):
        changes.set_done(tasks.pk, changes.add(tasks, name).pk, True)
    _, deletion = deletions.clear_done(tasks.pk)
    assert deletion is not None
    undone = at_once(*[lambda: deletions.undo(tasks.pk, deletion.pk)] * 4)
    assert sorted(undone) == [0, 0, 0, 2]
    cleared = at_once(*[lambda: deletions.clear_done(tasks.pk)] * 4)
    assert sorted(number for number, _ in cleared) == [0, 0, 0, 2]
    assert sum(made is not None for _, made in cleared) == 1, "nothing to undo is not offered"
