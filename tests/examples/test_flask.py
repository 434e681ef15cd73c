"""The Flask example as its users meet it: two processes, real HTTP, each kind of store."""

from __future__ import annotations

import contextlib
import re
import sqlite3
import sys
import threading
import urllib.error
import urllib.request
from http.cookiejar import CookieJar
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlencode

import pytest

from tests.servers import Memcached, Server

if TYPE_CHECKING:
    from collections.abc import Iterator

APP = Path(__file__).parents[2] / "examples/flask/tasklist.py"
TRIES = 10
"""Log-ins under one name before it is told to wait."""

names = (f"Visitor {number}" for number in count())


class Site(Server):
    """One process that serves the example."""

    def __init__(self, environment: dict[str, str]) -> None:
        super().__init__()
        self.environment = environment

    def command(self) -> list[str]:
        return [sys.executable, "-m", "flask", "--app", str(APP), "run", "-p", str(self.port)]


class Sites(NamedTuple):
    one: Site
    two: Site
    database: Path


@pytest.fixture(scope="module", params=["files", pytest.param("memcached", marks=pytest.mark.slow)])
def sites(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Sites]:
    folder = tmp_path_factory.mktemp("flask")
    environment = {"TASKS_DIR": str(folder)}
    with contextlib.ExitStack() as stack:
        if request.param == "memcached":
            server = Memcached()
            server.start()
            stack.callback(server.stop)
            environment["MEMCACHED_SERVERS"] = server.address
        both = Site(environment), Site(environment)
        for site in both:
            site.start()
            stack.callback(site.stop)
        yield Sites(*both, folder / "tasks.sqlite3")


class Browser:
    """Asks for pages, keeps cookies, and fills in the forms that it was shown."""

    def __init__(self) -> None:
        self.cookies = CookieJar()
        self._opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(self.cookies))
        self.status: int = 0
        self.page: str = ""

    def get(self, site: Site, path: str = "/") -> str:
        return self._open(f"http://{site.address}{path}", None)

    def post(self, site: Site, path: str, **fields: str) -> str:
        """Send a form, with the token of the page that was last shown if none is given."""
        token = re.search(r'name="token" value="([^"]+)"', self.page)
        fields = {"token": token[1] if token else "", **fields}
        return self._open(f"http://{site.address}{path}", urlencode(fields).encode())

    def _open(self, url: str, data: bytes | None) -> str:
        try:
            answer = self._opener.open(url, data, timeout=60)
        except urllib.error.HTTPError as error:
            answer = error
        with answer:
            self.status = answer.status
            page: str = answer.read().decode()
        self.page = page
        return page

    def sign_up(self, site: Site) -> str:
        name = next(names)
        self.get(site, "/log-in")
        self.post(site, "/log-in", name=name, password="of the tests", new="")
        return name

    def tasks(self) -> list[str]:
        """Return the tasks of the page, as it has them."""
        return re.findall(r"<span>(.*)</span>", self.page)

    def way_to(self, what: str, name: str) -> str:
        """Return where the form of a task goes that has the button ``what``."""
        forms = re.findall(r'<form.*?action="([^"]+)">(.*?)</form>', self.page, re.DOTALL)
        ways: list[str] = [way for way, form in forms if f'aria-label="{what}: {name}"' in form]
        return ways[0]


@pytest.fixture
def browser(sites: Sites) -> Browser:
    """One who has signed up."""
    made = Browser()
    made.sign_up(sites.one)
    return made


def test_a_task_is_added_ticked_and_deleted(sites: Sites, browser: Browser) -> None:
    assert "Nothing to do yet" in browser.page
    browser.post(sites.one, "/tasks", name="<b>Bread</b>")
    browser.post(sites.two, "/tasks", name="Milk")
    bread = "&lt;b&gt;Bread&lt;/b&gt;"
    assert browser.tasks() == [bread, "Milk"]
    browser.post(sites.one, browser.way_to("Done", bread), done="1")
    assert browser.tasks() == ["Milk", bread], "what is done comes last"
    assert '<li class="row done">' in browser.page
    browser.post(sites.two, browser.way_to("Done", bread), done="0")
    assert browser.tasks() == [bread, "Milk"]
    browser.post(sites.two, browser.way_to("Delete", bread))
    assert browser.tasks() == ["Milk"]


def test_the_other_process_never_shows_a_list_from_before_a_change(
    sites: Sites, browser: Browser
) -> None:
    reader = Browser()
    for cookie in browser.cookies:
        reader.cookies.set_cookie(cookie)
    over = threading.Event()

    def read() -> None:
        while not over.is_set():
            reader.get(sites.two)

    busy = threading.Thread(target=read)
    busy.start()
    try:
        added = []
        for number in range(30):
            added.append(f"Task {number}")
            browser.post(sites.one, "/tasks", name=added[-1])
            browser.get(sites.two)
            assert browser.tasks() == added
    finally:
        over.set()
        busy.join()


def test_query_page_and_snippet_are_kept_until_a_change(sites: Sites, browser: Browser) -> None:
    browser.post(sites.one, "/tasks", name="Bread")
    visitor = Browser()
    front = visitor.get(sites.one)
    totals = re.search(r"All lists together.*", browser.page)
    assert totals is not None
    with contextlib.closing(sqlite3.connect(sites.database)) as database, database:
        insert = "INSERT INTO tasks (owner, name) SELECT max(id), 'Behind its back' FROM users"
        database.execute(insert)
    browser.get(sites.two)
    assert browser.tasks() == ["Bread"], "the query"
    assert totals[0] in browser.page, "the snippet"
    assert visitor.get(sites.two) == front, "the page"
    browser.post(sites.one, "/tasks", name="Milk")
    browser.get(sites.two)
    assert browser.tasks() == ["Bread", "Behind its back", "Milk"]
    assert totals[0] not in browser.page
    assert visitor.get(sites.two) != front


def test_the_page_of_visitors_is_kept_for_visitors_alone(sites: Sites) -> None:
    visitor, user = Browser(), Browser()
    front = visitor.get(sites.one)
    assert "Log in or sign up" in front
    name = user.sign_up(sites.one)
    assert f"<h1>{name}" in user.get(sites.one)
    assert visitor.get(sites.two) == front
    assert not visitor.cookies, "who does nothing gets no session"


def test_a_session_is_of_all_processes_and_ends_in_all(sites: Sites, browser: Browser) -> None:
    (before,) = browser.cookies
    assert "tasks</h1>" in browser.get(sites.two)
    browser.post(sites.two, "/log-out")
    assert "Log in or sign up" in browser.page
    thief = Browser()
    thief.cookies.set_cookie(before)
    assert "Log in or sign up" in thief.get(sites.one)


def test_an_id_from_before_the_log_in_is_not_logged_in(sites: Sites) -> None:
    browser, thief = Browser(), Browser()
    browser.get(sites.one, "/log-in")
    (planted,) = browser.cookies
    thief.cookies.set_cookie(planted)
    browser.post(sites.one, "/log-in", name=next(names), password="of the tests", new="")
    assert "tasks</h1>" in browser.get(sites.one)
    assert "Log in or sign up" in thief.get(sites.one)


@pytest.mark.parametrize("token", ["", "another", "ö"])
def test_a_form_without_its_token_does_nothing(sites: Sites, browser: Browser, token: str) -> None:
    browser.post(sites.one, "/tasks", name="Forged", token=token)
    assert browser.status == 400
    browser.get(sites.one)
    assert browser.tasks() == []


def test_a_token_is_worth_nothing_in_another_session(sites: Sites, browser: Browser) -> None:
    other = Browser()
    other.sign_up(sites.one)
    other.page = browser.page
    other.post(sites.one, "/tasks", name="Forged")
    assert other.status == 400


def test_anothers_task_is_not_found(sites: Sites, browser: Browser) -> None:
    browser.post(sites.one, "/tasks", name="Mine")
    other = Browser()
    other.sign_up(sites.one)
    mine = browser.way_to("Delete", "Mine")
    far = f"/tasks/{2**63}"
    for way in (mine, browser.way_to("Done", "Mine"), f"{far}/delete", f"{far}/tick"):
        token = re.search(r'value="([^"]+)"', other.get(sites.one))
        assert token is not None
        other.post(sites.one, way, done="1")
        assert other.status == 404
    browser.get(sites.one)
    assert "row done" not in browser.page
    assert browser.tasks() == ["Mine"]


def test_who_is_not_logged_in_is_asked_to(sites: Sites) -> None:
    visitor = Browser()
    visitor.get(sites.one, "/log-in")
    assert "<h1>Log in</h1>" in visitor.post(sites.one, "/tasks", name="Nobody's")


@pytest.mark.parametrize("name", ["  ", "x" * 256])
def test_a_task_without_a_fitting_name_is_refused(
    sites: Sites, browser: Browser, name: str
) -> None:
    browser.post(sites.one, "/tasks", name=name)
    assert browser.status == 400
    assert "at most 255 characters" in browser.page
    assert f'name="name" value="{name.strip()}"' in browser.page, "what was typed is still there"
    assert browser.tasks() == []


def test_what_is_wrong_with_a_log_in_is_said(sites: Sites) -> None:
    browser, twin = Browser(), Browser()
    name = browser.sign_up(sites.one)
    twin.get(sites.one, "/log-in")
    for fields, said in (
        ({"password": "of the tests", "new": ""}, "That name is taken"),
        ({"password": "short", "new": ""}, "a password at least 8"),
        ({"password": "of somebody"}, "do not belong together"),
    ):
        assert said in twin.post(sites.one, "/log-in", name=name, **fields)
        assert twin.status == 400
    assert "tasks</h1>" in twin.post(sites.two, "/log-in", name=name, password="of the tests")


def test_guesses_are_counted_over_all_processes(sites: Sites) -> None:
    guesser, name = Browser(), next(names)
    guesser.get(sites.one, "/log-in")
    for number in range(TRIES):
        guesser.post((sites.one, sites.two)[number % 2], "/log-in", name=name, password=str(number))
        assert guesser.status == 400
    assert "Wait a minute" in guesser.post(sites.one, "/log-in", name=name, password="one more")
    assert guesser.status == 429
