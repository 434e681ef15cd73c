"""Signing up, logging in and out, and the visitor's tasks."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session

from tasks.models import TaskList
from tests.tasks.conftest import PASSWORD, Browser, MakeBrowser, at_once

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def mine(browser: MakeBrowser) -> Browser:
    """The browser of a visitor with two tasks."""
    mine = browser()
    mine.add("kept", "done")
    mine.finish("done")
    return mine


def test_signing_up_keeps_the_list(mine: Browser) -> None:
    before = mine.get().rows
    page = mine.sign_up("somebody")
    assert page.rows == before
    assert page.counts == [2, 1, 1]
    assert "somebody" in page.text
    assert User.objects.get().task_list.tasks.count() == 2
    assert TaskList.objects.count() == 1, "the visitor's own list is still there"


@pytest.mark.parametrize("address", ["/accounts/login/", "/admin/login/"])
def test_logging_in_adds_the_visitors_tasks_to_the_users(
    mine: Browser, browser: MakeBrowser, address: str
) -> None:
    user = User.objects.create_superuser("user", password=PASSWORD)
    elsewhere = browser(user)
    elsewhere.add("written elsewhere")
    mine.get()
    mine.post(address, username="user", password=PASSWORD)
    wanted = ["written elsewhere", "kept", "done"]
    assert mine.get().names == wanted
    assert elsewhere.get().names == wanted
    assert elsewhere.get().counts == [3, 2, 1]
    mine.add("later")
    assert elsewhere.get().names == ["later", *wanted]


def test_after_logging_out_the_browser_has_no_list(mine: Browser, user: User) -> None:
    mine.log_in(user)
    page = mine.log_out()
    assert page.names == []
    assert "Log in" in page.text
    mine.add("of a visitor again")
    assert mine.get().names == ["of a visitor again"]
    assert mine.log_in(user).names == ["of a visitor again", "kept", "done"]


def test_the_next_user_of_a_browser_does_not_get_the_first_users_tasks(
    mine: Browser, user: User, other: User
) -> None:
    mine.log_in(user)
    mine.log_out()
    assert mine.log_in(other).names == []


@pytest.mark.parametrize(
    ("username", "password"), [("user", "wrong"), ("nobody", PASSWORD), ("", ""), ("\0", "\0")]
)
def test_a_refused_login_says_so_and_keeps_the_input_and_the_list(
    mine: Browser, user: User, username: str, password: str
) -> None:
    page = mine.post("/accounts/login/", username=username, password=password)
    assert page.status == 422
    assert "aria-invalid" in page.html or "Please enter a correct username" in page.text
    assert page.typed("username") == username
    assert page.typed("password") == ""
    assert mine.get().names == ["kept", "done"]


@pytest.mark.parametrize(
    ("username", "password", "again", "field", "says"),
    [
        ("user", PASSWORD, PASSWORD, "username", "already exists"),
        ("", PASSWORD, PASSWORD, "username", "required"),
        ("a b", PASSWORD, PASSWORD, "username", "valid username"),
        ("x" * 151, PASSWORD, PASSWORD, "username", "at most 150"),
        ("<b>", PASSWORD, PASSWORD, "username", "valid username"),
        ("new", "short", "short", "password2", "too short"),
        ("new", "12345678901", "12345678901", "password2", "entirely numeric"),
        ("new", PASSWORD, "another", "password2", "match"),
    ],
)
def test_a_refused_sign_up_shows_the_reason_beside_the_field_and_keeps_the_list(
    mine: Browser, user: User, username: str, password: str, again: str, field: str, says: str
) -> None:
    page = mine.sign_up(username, password, again)
    assert page.status == 422
    assert says in page.errors_beside(field)
    assert page.typed("username") == username
    assert page.typed("password1") == page.typed("password2") == ""
    assert User.objects.count() == 1
    assert mine.get().names == ["kept", "done"]


@pytest.mark.parametrize("address", ["/accounts/login/", "/accounts/signup/"])
def test_a_logged_in_user_is_redirected_to_the_list(
    browser: MakeBrowser, user: User, address: str
) -> None:
    answer = browser(user).client.get(address)
    assert (answer.status_code, answer["Location"]) == (302, "/")


@pytest.mark.parametrize(
    ("target", "leads_to"),
    [("/files/", "/files/"), ("https://elsewhere.invalid/", "/"), ("//elsewhere.invalid", "/")],
)
def test_logging_in_redirects_only_to_this_site(
    browser: MakeBrowser, user: User, target: str, leads_to: str
) -> None:
    fields = {"username": user.username, "password": PASSWORD, "next": target}
    answer = browser().client.post("/accounts/login/", fields)
    assert (answer.status_code, answer["Location"]) == (302, leads_to)


@pytest.mark.parametrize("way", ["log in", "sign up"])
def test_logging_in_changes_the_sessions_key(mine: Browser, user: User, way: str) -> None:
    before = mine.client.cookies["sessionid"].value
    mine.log_in(user) if way == "log in" else mine.sign_up("new")
    assert "Log out" in mine.get().text
    assert mine.client.cookies["sessionid"].value != before
    assert not Session.objects.filter(pk=before).exists()


# -- several at once -----------------------------------------------------------------------


@pytest.mark.parametrize("has_list", [False, True])
def test_simultaneous_logins_lose_no_task(browser: MakeBrowser, user: User, has_list: bool) -> None:
    if has_list:
        browser(user).add("before")
    browsers = [browser() for _ in range(4)]
    for number, one in enumerate(browsers):
        one.add(f"{number} a", f"{number} b")
    at_once(*(lambda one=one: one.log_in(user) for one in browsers))
    wanted = {f"{number} {letter}" for number in range(4) for letter in "ab"}
    wanted |= {"before"} if has_list else set()
    for one in browsers:
        page = one.get()
        assert set(page.names) == wanted
        assert page.counts == [len(wanted), len(wanted), 0]
    assert TaskList.objects.count() == 1


def test_one_of_several_simultaneous_sign_ups_gets_the_name_and_no_task_is_lost(
    browser: MakeBrowser,
) -> None:
    browsers = [browser() for _ in range(4)]
    for number, one in enumerate(browsers):
        one.add(str(number))
    pages = at_once(*(lambda one=one: one.sign_up("wanted") for one in browsers))
    assert sorted(page.status for page in pages) == [200, 422, 422, 422]
    for page in pages:
        if page.status == 422:
            assert "already exists" in page.errors_beside("username")
            assert page.typed("username") == "wanted"
    assert [one.get().names for one in browsers] == [["0"], ["1"], ["2"], ["3"]]


def test_adding_while_logging_in_loses_no_task(browser: MakeBrowser, user: User) -> None:
    """Both requests have the visitor's session, like two tabs of one browser."""
    mine = browser()
    mine.add("before")
    tab = browser()
    tab.client.cookies.update(mine.client.cookies)
    added, _ = at_once(lambda: tab.client.post("/", {"name": "tab"}), lambda: mine.log_in(user))
    assert "before" in mine.get().names
    # A request after the end of the session begins another. A request during it gets an error, and
    # changes nothing.
    assert added.status_code in {302, 400}
    if added.status_code == 302:
        assert "tab" in mine.get().names + tab.get().names
