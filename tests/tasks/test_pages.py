"""Refused requests, and their error pages."""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from django.contrib.auth.models import User
from django.contrib.staticfiles import finders
from django.db import connection
from django.db.models import Model

from tasks.models import Task, TaskList
from tests.tasks.conftest import PASSWORD, MakeBrowser, Page

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.django_db(transaction=True)

POSTED = [
    *("/tasks/{}/done/", "/tasks/{}/delete/", "/tasks/{}/move/", "/tasks/clear-done/"),
    *("/tasks/undo/{}/", "/accounts/logout/"),
]
INLINE = r"<script(?! (type=\"module\" )?src=\"/[^>]*></script>)|<style|\sstyle=|\son\w+=|https?://"


def is_our_own(page: Page, heading: str) -> bool:
    """Whether a page looks like the others, links back, and shows no internals."""
    inside = "Traceback|Exception|Django|OperationalError|tasks_task|settings|/tasks/views"
    assert not re.search(inside, page.html)
    return (
        f"<h1>{heading}</h1>" in page.html
        and "tasks/app.css" in page.html
        and "Back to the tasks" in page.text
    )


# -- forged and outdated forms -------------------------------------------------------------


@pytest.mark.parametrize("path", ["/", "/tasks/{}/edit/", "/accounts/login/", *POSTED])
def test_a_form_of_another_site_changes_nothing(
    browser: MakeBrowser, user: User, path: str
) -> None:
    mine = browser(user)
    mine.add("done")
    mine.finish("done")
    before = mine.get().rows
    forged = browser(user, enforce_csrf_checks=True)
    page = forged.post(path.format(before[0].id), name="<forged>", done=0)
    assert page.status == 403
    assert is_our_own(page, "Please try again")
    assert mine.get().rows == before
    assert "Log out" in forged.get().text


def test_the_input_of_an_outdated_form_is_shown_for_copying(browser: MakeBrowser) -> None:
    typed = "</textarea><script>alert(1)</script>\n\nsecond line"
    page = browser(enforce_csrf_checks=True).post("/", name=typed)
    assert page.status == 403
    assert "<script>" not in page.html
    assert "</textarea><script>alert(1)</script> second line" in page.text


def test_this_sites_own_forms_are_accepted(browser: MakeBrowser) -> None:
    mine = browser(enforce_csrf_checks=True)

    def token() -> str:
        found = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', mine.get().html)
        assert found, "the form has no token"
        return found[1]

    page = mine.post("/", name="task", csrfmiddlewaretoken=token())
    assert page.names == ["task"]
    page = mine.post(f"/tasks/{page.rows[0].id}/done/", done=1, csrfmiddlewaretoken=token())
    assert page.rows[0].done
    fields = {"username": "new", "password1": PASSWORD, "password2": PASSWORD}
    page = mine.post("/accounts/signup/", **fields, csrfmiddlewaretoken=token())
    assert page.names == ["task"]
    page = mine.post("/accounts/logout/", csrfmiddlewaretoken=token())
    assert page.names == []


def test_pages_have_no_inline_script_or_style(browser: MakeBrowser, user: User) -> None:
    mine = browser(user)
    mine.add("task")
    edit = f"/tasks/{mine.id_of('task')}/edit/"
    for path in ("/", edit, "/files/", "/none/"):
        assert not re.search(INLINE, mine.get(path).html)
    for path in ("/accounts/login/", "/accounts/signup/"):
        page = browser().get(path)
        assert not re.search(INLINE, page.html)


@pytest.mark.parametrize("whose", ["user", "visitor"])
def test_a_form_that_was_made_for_another_viewer_changes_nothing(
    browser: MakeBrowser, user: User, whose: str
) -> None:
    mine = browser(user if whose == "user" else None)
    page = mine.add("mine")
    task = page.rows[0].id
    (viewer,) = set(re.findall(r'name="viewer" value="(\w+)"', page.html))
    mine.client.logout()
    fields = {"name": "typed", "lines": "typed", "text": "name\ntyped", "viewer": viewer}
    more = ("/tasks/lines/", "/account/import/", "/account/share/", "/tasks/{}/edit/")
    for path in ("/", *more, *POSTED[:-1]):
        page = mine.post(path.format(task), **fields)
        assert page.status == 403, path
        assert is_our_own(page, "Please try again")
        assert "typed" in page.text, "the text is lost"
    assert list(Task.objects.values_list("name", "done")) == [("mine", False)]
    assert TaskList.objects.count() == 1
    # A form without a name of a viewer, and one that was made for a visitor without a list.
    assert mine.post("/", name="one").names == ["one"]
    assert mine.post("/", name="two", viewer="").names == ["two", "one"]


# -- methods -------------------------------------------------------------------------------


@pytest.mark.parametrize("path", POSTED)
def test_a_get_of_an_address_for_changes_changes_nothing(
    browser: MakeBrowser, user: User, path: str
) -> None:
    mine = browser(user)
    mine.add("done")
    mine.finish("done")
    before = mine.get().rows
    assert mine.get(path.format(before[0].id)).status == 405
    assert mine.get().rows == before
    assert "Log out" in mine.get().text


@pytest.mark.parametrize("path", ["/", "/tasks/{}/edit/", *POSTED])
@pytest.mark.parametrize("method", ["put", "delete", "patch"])
def test_methods_that_forms_do_not_use_are_refused(
    browser: MakeBrowser, user: User, path: str, method: str
) -> None:
    mine = browser(user)
    mine.add("task")
    before = mine.get().rows
    answer = getattr(mine.client, method)(path.format(before[0].id))
    assert answer.status_code == 405
    assert mine.get().rows == before


def test_the_icons_of_the_site_exist(browser: MakeBrowser) -> None:
    mine = browser()
    manifest = mine.client.get("/manifest.webmanifest").json()
    icons = [icon["src"] for icon in manifest["icons"]]
    icons.append(mine.client.get("/favicon.ico")["Location"])
    icons += re.findall(r'<link rel="(?:apple-touch-)?icon" href="([^"]*)"', mine.get().html)
    assert len(icons) == 5
    for icon in icons:
        assert finders.find(icon.removeprefix("/static/")), icon


# -- error pages ---------------------------------------------------------------------------


def test_a_bad_request_gets_the_sites_own_page(browser: MakeBrowser) -> None:
    page = Page(browser().client.get("/", headers={"host": "elsewhere.invalid"}))
    assert page.status == 400
    assert is_our_own(page, "Request not understood")


FORM = "application/x-www-form-urlencoded"


@pytest.mark.parametrize("path", ["/", "/none/"])
@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        (f"{FORM}; charset=utf-16", b"name=x"),
        ("multipart/form-data; boundary=", b"name=x"),
        (FORM, b"name=" + b"x" * (1 << 20)),
        (FORM, b"name=x&" * 2000),
    ],
    ids=["encoding", "boundary", "size", "fields"],
)
def test_a_form_that_cannot_be_read_gets_the_sites_own_page(
    browser: MakeBrowser, path: str, content_type: str, body: bytes
) -> None:
    client = browser(enforce_csrf_checks=True).client
    client.raise_request_exception = False
    client.get("/")  # for the cookie, without which no form is read
    page = Page(client.post(path, body, content_type=content_type))
    assert page.status in (400, 413)
    assert is_our_own(page, "Request not understood")


def test_a_forbidden_page_gets_the_sites_own_page(browser: MakeBrowser) -> None:
    staff = User.objects.create_user("staff", is_staff=True)
    page = browser(staff).get("/admin/tasks/task/")
    assert page.status == 403
    assert is_our_own(page, "Not allowed")


@pytest.mark.parametrize("path", ["/none/", "/tasks/1/", "/%00", "/" + "x" * 5000, "/<script>"])
def test_an_unknown_address_gets_the_sites_own_page(browser: MakeBrowser, path: str) -> None:
    page = browser().get(path)
    assert page.status == 404
    assert is_our_own(page, "Not found")
    assert "<script>" not in page.html


@contextmanager
def without(model: type[Model]) -> Iterator[None]:
    """A database in which one table cannot be read."""
    table = model._meta.db_table
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {table} RENAME TO away")
        try:
            yield
        finally:
            cursor.execute(f"ALTER TABLE away RENAME TO {table}")


@pytest.mark.parametrize("away", [Task, TaskList, User])
def test_a_server_error_gets_the_sites_own_page_and_changes_nothing(
    browser: MakeBrowser, user: User, away: type[Model]
) -> None:
    mine = browser(user, raise_request_exception=False)
    mine.add("before")
    with without(away):
        page = mine.add("meanwhile")
    assert page.status == 500
    assert is_our_own(page, "Something went wrong")
    assert mine.get().names == ["before"]
    assert mine.add("after").names == ["after", "before"]
