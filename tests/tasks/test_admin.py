"""A change by staff is on the users' pages at once."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from django.db.models import Model

from tasks.lists.queries import list_of
from tasks.models import ImportedFile, Task, TaskList
from tests.tasks.conftest import Browser, MakeBrowser, Page

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def staff(browser: MakeBrowser, transactional_db: None) -> Browser:
    return browser(User.objects.create_superuser("staff"))


@pytest.fixture(params=["visitor", "user"])
def mine(request: pytest.FixtureRequest, browser: MakeBrowser, user: User) -> Browser:
    """A browser with three tasks on its page."""
    mine = browser(user if request.param == "user" else None)
    assert len(mine.add("a", "b", "c").names) == 3
    return mine


def of(model: type[Model]) -> str:
    return f"/admin/{model._meta.app_label}/{model._meta.model_name}/"


def delete(staff: Browser, *objects: Model) -> Page:
    """Delete one row on its own page, or several on the page of all rows."""
    if len(objects) == 1:
        page = staff.post(f"{of(type(objects[0]))}{objects[0].pk}/delete/", post="yes")
    else:
        page = staff.post(
            of(type(objects[0])),
            action="delete_selected",
            _selected_action=[one.pk for one in objects],
            post="yes",
        )
    assert "uccessfully" in page.text
    return page


def test_tasks_are_added_edited_and_deleted(mine: Browser, staff: Browser) -> None:
    tasks = TaskList.objects.get()
    staff.post(f"{of(Task)}add/", name="d", list=tasks.pk)
    assert mine.get().names == ["d", "c", "b", "a"]
    task = Task.objects.get(name="d")
    staff.post(f"{of(Task)}{task.pk}/change/", name="e", done="on")
    page = mine.get()
    assert page.names == ["c", "b", "a", "e"], "done tasks come last"
    assert page.counts == [4, 3, 1]
    delete(staff, task)
    assert mine.get().names == ["c", "b", "a"]
    delete(staff, *Task.objects.exclude(name="b"))
    assert mine.get().names == ["b"]
    assert mine.get().counts == [1, 1, 0]


def test_a_task_stays_in_its_list(
    mine: Browser, staff: Browser, browser: MakeBrowser, other: User
) -> None:
    browser(other).add("theirs")
    task = Task.objects.get(name="a")
    fields = {"name": "a", "list": other.task_list.pk}
    staff.post(f"{of(Task)}{task.pk}/change/", **fields)
    assert mine.get().names == ["c", "b", "a"]


@pytest.mark.parametrize("several", [False, True])
def test_after_its_list_is_deleted_a_page_is_empty_and_a_new_task_starts_a_new_list(
    mine: Browser, staff: Browser, several: bool
) -> None:
    lists = list(TaskList.objects.all())
    if several:
        lists.append(TaskList.objects.create())
    delete(staff, *lists)
    page = mine.get()
    assert page.status == 200
    assert "Nothing to do yet" in page.text
    assert mine.add("next").names == ["next"]
    assert mine.get().counts == [1, 1, 0]


@pytest.mark.parametrize("several", [False, True])
def test_nothing_of_a_deleted_user_is_shown(
    browser: MakeBrowser, staff: Browser, user: User, other: User, several: bool
) -> None:
    theirs = browser(user)
    theirs.add("theirs")
    number = user.pk
    delete(staff, *((user, other) if several else (user,)))
    page = theirs.get()
    assert page.names == []
    assert "Log in" in page.text
    assert not Task.objects.exists()
    assert list_of(number) is None
    # As after restoring a backup, or with another system that assigns the ids.
    newcomer = browser(User.objects.create_user("newcomer", pk=number))
    assert newcomer.get().names == []
    assert newcomer.add("own").names == ["own"]


@pytest.mark.parametrize("model", [Task, TaskList, ImportedFile, User])
def test_every_table_has_a_working_admin_page(
    mine: Browser, staff: Browser, model: type[Model]
) -> None:
    assert staff.get(of(model)).status == 200
    if one := model._default_manager.first():
        assert staff.get(f"{of(model)}{one.pk}/change/").status == 200


@pytest.mark.parametrize("model", [TaskList, ImportedFile])
def test_rows_that_only_the_application_writes_cannot_be_added_by_hand(
    staff: Browser, model: type[Model]
) -> None:
    assert staff.get(f"{of(model)}add/").status == 403


def test_only_staff_can_enter(browser: MakeBrowser, user: User) -> None:
    for one in (browser(), browser(user)):
        answer = one.client.get(of(Task))
        assert answer.status_code == 302
        assert answer["Location"].startswith("/admin/login/")
