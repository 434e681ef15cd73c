"""The order of tasks, set by hand."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest

from tasks.lists import changes, deletions
from tasks.lists.queries import Show
from tasks.models import STEP, Task, TaskList
from tests.tasks.conftest import at_once

if TYPE_CHECKING:
    from django.contrib.auth.models import User

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def tasks(user: User) -> TaskList:
    """A list of the tasks 0 to 4, from the top."""
    tasks = TaskList.objects.create(user=user)
    changes.add_many(tasks, [str(number) for number in range(5)])
    return tasks


def names(tasks: TaskList) -> str:
    return "".join(Task.objects.filter(list=tasks).values_list("name", flat=True))


def ids(tasks: TaskList) -> list[int]:
    return list(Task.objects.filter(list=tasks).values_list("pk", flat=True))


@pytest.mark.parametrize("above", [True, False])
def test_there_is_always_room_between_two_tasks(user: User, above: bool) -> None:
    tasks = TaskList.objects.create(user=user)
    changes.add_many(tasks, [f"<{number}>" for number in range(STEP.bit_length() * 3)])
    # The newest first: of equal positions, the newer task is above.
    moved = list(Task.objects.filter(list=tasks).order_by("-pk"))
    top, bottom, gone = (changes.add(tasks, name) for name in ("top", "bottom", "gone"))
    beside = bottom if above else top
    changes.move(tasks.pk, top.pk, bottom.pk, above=True)
    changes.move(tasks.pk, gone.pk, beside.pk, above=above)
    _, deletion = deletions.delete(tasks.pk, gone.pk)
    for task in moved:
        changes.move(tasks.pk, task.pk, beside.pk, above=above)
    deletions.undo(tasks.pk, deletion.pk)
    among = [gone, *moved] if above else [*moved[::-1], gone]
    assert list(Task.objects.filter(list=tasks)) == [top, *among, bottom]


def test_a_restored_task_returns_to_its_position_whatever_was_moved(tasks: TaskList) -> None:
    first, second, third, fourth, fifth = ids(tasks)
    undone = [deletions.delete(tasks.pk, task)[1] for task in (first, third, fifth)]
    changes.move(tasks.pk, fourth, second, above=False)  # 1 and 3: right below, above 2
    changes.add(tasks, "new")
    for deletion in undone:
        deletions.undo(tasks.pk, deletion.pk)
    assert names(tasks) == "new01324"
    undone = [deletions.delete(tasks.pk, task)[1] for task in (first, fifth)]
    changes.move(tasks.pk, third, second, above=True)  # right above, below 0
    changes.move(tasks.pk, second, fourth, above=False)  # right below, above 4
    for deletion in undone:
        deletions.undo(tasks.pk, deletion.pk)
    assert names(tasks) == "new02314"


def test_a_task_is_moved_beside_one_that_was_deleted_in_another_tab(tasks: TaskList) -> None:
    *_, third, _, fifth = ids(tasks)
    _, deletion = deletions.delete(tasks.pk, third)
    changes.move(tasks.pk, fifth, third, above=True)
    assert names(tasks) == "0143"
    deletions.undo(tasks.pk, deletion.pk)
    assert names(tasks) == "01423"


def test_a_new_task_is_above_a_deleted_one(tasks: TaskList) -> None:
    changes.add_many(tasks, ["x"] * 3000)  # at positions of later seconds
    undone = [deletions.delete(tasks.pk, task)[1] for task in ids(tasks)[:3]]
    changes.add(tasks, "new")
    for deletion in undone:
        deletions.undo(tasks.pk, deletion.pk)
    assert names(tasks)[:5] == "newxx"


def test_a_step_moves_a_task_past_the_next_visible_one(tasks: TaskList) -> None:
    first, _, _, fourth, _ = ids(tasks)
    for task in (first, fourth):
        changes.set_done(tasks.pk, task, True)
    changes.step(tasks.pk, fourth, Show.DONE, "", up=True)
    assert names(tasks) == "30124"
    changes.step(tasks.pk, fourth, Show.DONE, "", up=True)
    assert names(tasks) == "30124", "it is the first already"
    changes.step(tasks.pk, fourth, Show.ALL, "", up=False)
    assert names(tasks) == "03124", "those that are done are shown together"


def test_tasks_moved_to_one_position_at_once_all_keep_different_positions(
    tasks: TaskList,
) -> None:
    *moved, gone, beside = ids(tasks)

    def delete_and_undo() -> int:
        _, deletion = deletions.delete(tasks.pk, gone)
        return deletions.undo(tasks.pk, deletion.pk)

    for _ in range(8):
        moves = [partial(changes.move, tasks.pk, task, beside, above=True) for task in moved]
        *_, back = at_once(*moves, delete_and_undo)
        assert back == 1
        assert ids(tasks)[0] == gone
        assert sorted(ids(tasks)[1:]) == sorted([*moved, beside])
        assert ids(tasks)[-1] == beside
        positions = Task.objects.filter(list=tasks).values_list("position", flat=True)
        assert len(set(positions)) == len(positions)
