"""A list as a whole: shared with readers, exported and imported; and the account that it is of."""

from __future__ import annotations

import gzip
import json
import re
from typing import TYPE_CHECKING

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test.utils import CaptureQueriesContext

from tasks.lists import sharing
from tasks.models import Share, Task, TaskList
from tasks.throttling import TRIES_OF_OWNER
from tests.tasks.conftest import PASSWORD, Browser, MakeBrowser, Page
from tests.tasks.test_queries import is_of_the_outbox

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.django_db(transaction=True)


def shared(mine: Browser) -> str:
    """Share the list; return the path of its address."""
    page = mine.post("/account/share/")
    found = re.search(r"/shared/[0-9a-f]{32}/", page.html)
    assert found
    return found[0]


def titles(page: Page) -> list[str]:
    return re.findall(r'<p class="title">([^<]*)', page.html)


def queries(act: Callable[[], object]) -> list[str]:
    with CaptureQueriesContext(connection) as captured:
        act()
    return [query["sql"] for query in captured if not is_of_the_outbox(query["sql"])]


# -- sharing -------------------------------------------------------------------------------


def test_readers_share_one_stored_page_which_is_never_stale(
    browser: MakeBrowser, user: User, other: User
) -> None:
    mine, readers = browser(user), [browser(), browser(other)]
    mine.add("one")
    address = shared(mine)
    for reader in readers:
        assert titles(reader.get(address)) == ["one"]
    assert queries(lambda: readers[0].get(address)) == []
    steps: list[tuple[Callable[[], object], list[str]]] = [
        (lambda: mine.add("two"), ["two", "one"]),
        (lambda: mine.post(f"/tasks/{mine.id_of('one')}/edit/", name="three"), ["two", "three"]),
        (lambda: mine.finish("two"), ["three", "two"]),
        (lambda: mine.post(f"/tasks/{mine.id_of('three')}/delete/"), ["two"]),
    ]
    for step, wanted in steps:
        step()
        for reader in readers:
            assert titles(reader.get(address)) == wanted
    page = readers[1].get(address)
    assert "other" not in page.text, "the reader's name is in a page of all readers"
    assert "<form" not in page.html
    mine.post("/account/stop-sharing/")
    for reader in readers:
        assert reader.get(address).status == 404
    assert shared(mine) != address
    assert readers[0].get(address).status == 404


def test_a_readers_browser_learns_that_its_copy_is_current(
    browser: MakeBrowser, user: User
) -> None:
    mine, reader = browser(user), browser()
    mine.add("one")
    address = shared(mine)
    tag = reader.client.get(address)["ETag"]
    again = reader.client.get(address, headers={"If-None-Match": tag})
    assert (again.status_code, again.content) == (304, b"")
    made = "Made at <time>"
    line = reader.get(address).html.split(made)[1]
    assert browser().get(address).html.split(made)[1] == line, "made once for all readers"
    mine.add("two")
    assert reader.client.get(address, headers={"If-None-Match": tag}).status_code == 200


def test_the_address_of_a_visitors_list_comes_along_at_sign_up(browser: MakeBrowser) -> None:
    mine, reader = browser(), browser()
    mine.add("one")
    address = shared(mine)
    assert titles(reader.get(address)) == ["one"]
    mine.sign_up("somebody")
    mine.add("two")
    assert titles(reader.get(address)) == ["two", "one"]


def test_the_end_of_a_list_is_the_end_of_its_address(browser: MakeBrowser, user: User) -> None:
    mine, reader = browser(user), browser()
    mine.add("one")
    address = shared(mine)
    reader.get(address)
    user.delete()
    assert reader.get(address).status == 404
    assert not Share.objects.exists()


def test_an_unknown_address_is_not_stored(browser: MakeBrowser) -> None:
    assert browser().get(f"/shared/{'0' * 32}/").status == 404
    assert queries(lambda: sharing.list_shared_at("0" * 32)) != []
    for wrong in ("A" * 32, "0" * 31, f"{'0' * 32}%0A"):
        assert browser().get(f"/shared/{wrong}/").status == 404


# -- exports and imports -------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["csv", "json"])
def test_an_exported_list_is_imported_as_it_was(
    browser: MakeBrowser, user: User, other: User, ending: str
) -> None:
    mine, theirs = browser(user), browser(other)
    mine.add('quoted "text", with comma', "Äpfel 🌱", "=1+1", "'-1", "'quoted'")
    mine.post("/", name="due", due="2030-01-31")
    mine.finish("Äpfel 🌱")
    answer = mine.client.get(f"/account/export.{ending}")
    assert "attachment" in answer["Content-Disposition"]
    theirs.add("theirs")
    page = theirs.post("/account/import/", text=answer.content.decode())
    assert "Added 6 tasks." in page.text
    assert (b"\r\n'=1+1,no,\r\n" in answer.content) is (ending == "csv"), "no formula"
    fields = ("name", "done", "due")
    copies = Task.objects.filter(list__user=other).exclude(name="theirs").values_list(*fields)
    assert list(copies) == list(Task.objects.filter(list__user=user).values_list(*fields))
    undo = dict(re.findall(r'type="hidden" name="(first|last)" value="(\d+)"', page.html))
    assert theirs.post("/tasks/delete-added/", **undo).names == ["theirs"]
    assert mine.post("/tasks/delete-added/", **undo).status == 404
    assert Task.objects.filter(list__user=user).count() == 6


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no column “name”"),
        ("title\nx", "no column “name”"),
        ("name\n", "There is no task in it."),
        ("name,due\nx,2030-02-30", "Task 1: Write the date as year-month-day"),
        ('name\n"x', "cannot be read as a table"),
        ("{", "not valid JSON"),
        ("[1]", "no list of tasks"),
        ("[" * 100_000, "not valid JSON"),
        ("name\n" + "x\n" * 5001, "more than 5,000 tasks"),
    ],
)
def test_a_file_that_cannot_be_imported_adds_nothing(
    browser: MakeBrowser, user: User, text: str, says: str
) -> None:
    page = browser(user).post("/account/import/", text=text)
    assert page.status == 422
    assert says in page.text
    assert not Task.objects.exists()


def test_a_list_of_strangers_is_not_exported(browser: MakeBrowser, user: User) -> None:
    browser(user).add("secret")
    answer = browser().client.get("/account/export.json")
    assert json.loads(answer.content) == {"tasks": []}
    assert "no-store" in answer["Cache-Control"]


# -- accounts ------------------------------------------------------------------------------


def test_a_changed_password_ends_other_sessions(browser: MakeBrowser, user: User) -> None:
    mine, elsewhere = browser(user), browser(user)
    mine.add("secret")
    assert elsewhere.get().names == ["secret"]
    fields = {"new_password1": "another-battery", "new_password2": "another-battery"}
    page = mine.post("/accounts/password/", old_password="wrong", **fields)
    assert (page.status, "incorrect" in page.text) == (422, True)
    page = mine.post("/accounts/password/", old_password=PASSWORD, **fields)
    assert "The password is changed." in page.text
    assert mine.get().names == ["secret"]
    assert elsewhere.get().names == []


def test_an_account_is_deleted_with_its_password_alone(browser: MakeBrowser, user: User) -> None:
    mine = browser(user)
    mine.add("secret")
    assert mine.post("/accounts/delete/", password="wrong").status == 422
    assert mine.get().names == ["secret"]
    page = mine.post("/accounts/delete/", password=PASSWORD)
    assert "Your account and its tasks are deleted." in page.text
    assert page.names == []
    assert not User.objects.exists()
    assert not TaskList.objects.exists()


@pytest.mark.parametrize("path", ["/accounts/delete/", "/accounts/password/"])
def test_a_password_is_not_guessed_in_a_browser_that_is_logged_in(
    browser: MakeBrowser, user: User, path: str
) -> None:
    mine = browser(user)
    TRIES_OF_OWNER.forget(str(user.pk))
    for _ in range(TRIES_OF_OWNER.most):
        assert mine.post(path, password="wrong", old_password="wrong").status == 422
    assert mine.post(path, password=PASSWORD, old_password=PASSWORD).status == 429
    TRIES_OF_OWNER.forget(str(user.pk))
    assert User.objects.exists()


def test_signing_up_logging_in_and_out_say_what_happened(browser: MakeBrowser) -> None:
    mine = browser()
    mine.add("one", "two")
    assert "Welcome, somebody; 2 tasks come along." in mine.sign_up("somebody").text
    assert "You are logged out." in mine.log_out().text
    mine.add("three")
    assert "1 task comes along" in mine.log_in(User.objects.get()).text
    mine.log_out()
    assert "Welcome, somebody." in mine.log_in(User.objects.get()).text


# -- sizes ---------------------------------------------------------------------------------


def test_rows_that_a_browser_has_are_sent_empty(browser: MakeBrowser, user: User) -> None:
    mine = browser(user)
    mine.add("one", "two", "three")
    part = {"X-Part": "list"}
    mine.get()  # with the message
    whole = Page(mine.client.get("/", headers=part))
    versions = dict(re.findall(r'id="task-(\d+)" data-v="(\w+)"', whole.html))
    assert len(versions) == 3
    edited = mine.id_of("two")
    mine.post(f"/tasks/{edited}/edit/", name="changed <b>")
    have = ",".join(f"{task}.{version}" for task, version in versions.items())
    answer = Page(mine.client.get("/", headers={**part, "X-Have": have}))
    assert re.findall(r'id="task-(\d+)"', answer.html) == list(versions)
    assert answer.names == ["changed <b>"]
    assert "Edit: one" not in answer.html
    # Of another page the rows lead elsewhere, so they are other rows.
    answer = Page(mine.client.get("/?show=open", headers={**part, "X-Have": have}))
    assert answer.names == ["three", "changed <b>", "one"]


def test_pages_are_compressed_with_a_padding_and_files_are_not(
    browser: MakeBrowser, user: User
) -> None:
    mine = browser(user)
    mine.add(*(f"task {number}" for number in range(20)))
    mine.get()
    plain = mine.client.get("/")
    accepts = {"Accept-Encoding": "gzip"}
    answers = [mine.client.get("/", headers=accepts) for _ in range(20)]
    assert {answer["Content-Encoding"] for answer in answers} == {"gzip"}
    assert all(len(answer.content) < len(plain.content) / 4 for answer in answers)
    assert len({len(answer.content) for answer in answers}) > 1, "the length is padded"
    assert b"task 19" in gzip.decompress(answers[0].content)
    export = mine.client.get("/account/export.csv", headers=accepts)
    assert "Content-Encoding" not in export
