"""Browsers that use the task list, one at a time or several at once."""

from __future__ import annotations

import html
import re
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import pytest
from django.contrib.auth.models import User
from django.db import connections
from django.test import Client

if TYPE_CHECKING:
    from collections.abc import Callable

PASSWORD = "correct-horse-battery"

_ROW = re.compile(
    r'<li id="task-(?P<id>\d+)".*?aria-label="(?P<done>Open again)?.*?'
    r'<a class="name"[^>]*>(?P<name>[^<]*)(?:<span[^>]*>[^<]*</span>)?</a>'
    r'\s*(?:<time class="due" datetime="(?P<due>[^"]*)">[^<]*</time>)?\s*</div>.*?</li>',
    re.DOTALL,
)


class Row(NamedTuple):
    """A task as a page shows it."""

    id: int
    name: str
    done: bool
    due: str
    """As year-month-day; "" for none."""


@dataclass
class Page:
    """The page that a browser received."""

    response: Any

    @property
    def status(self) -> int:
        return int(self.response.status_code)

    @property
    def html(self) -> str:
        return str(self.response.content.decode())

    @property
    def text(self) -> str:
        """All text, without tags, each run of white space one space."""
        return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", self.html)).split())

    @property
    def rows(self) -> list[Row]:
        return [
            Row(int(row["id"]), html.unescape(row["name"]), bool(row["done"]), row["due"] or "")
            for row in _ROW.finditer(self.html)
        ]

    @property
    def names(self) -> list[str]:
        return [row.name for row in self.rows]

    @property
    def counts(self) -> list[int]:
        """The numbers of all, open and done tasks, as the tabs show them."""
        return [int(count) for count in re.findall(r'class="count">(\d+)<', self.html)]

    def typed(self, field: str) -> str:
        """Return the value of an input."""
        (tag,) = self._inputs(field)
        value = re.search(r' value="([^"]*)"', tag)
        return html.unescape(value[1]) if value else ""

    def errors_beside(self, field: str) -> str:
        """Return the messages that an input refers to with aria-describedby; "" if it is valid."""
        (tag,) = self._inputs(field)
        if 'aria-invalid="true"' not in tag:
            return ""
        described = re.search(r'aria-describedby="([^"]*)"', tag)
        assert described, f"{field} refers to no message"
        ids = "|".join(described[1].split())
        found = re.search(rf'<ul[^>]* id="(?:{ids})">(.*?)</ul>', self.html, re.DOTALL)
        assert found, f"no message beside {field}"
        return html.unescape(re.sub(r"<[^>]*>", "", found[1])).strip()

    def _inputs(self, field: str) -> list[str]:
        """Return the tags of a field, without those in templates for scripts."""
        shown = re.sub(r"<template.*?</template>", "", self.html, flags=re.DOTALL)
        return re.findall(rf'<input[^>]* name="{field}"[^>]*>', shown)


class Browser:
    """A browser with its own cookies. It follows redirects."""

    def __init__(self, client: type[Client] = Client, **options: Any) -> None:
        self.client = client(**options)

    def get(self, path: str = "/", **query: Any) -> Page:
        return Page(self.client.get(path, query))

    def post(self, path: str, **fields: Any) -> Page:
        return Page(self.client.post(path, fields, follow=True))

    def add(self, *names: str) -> Page:
        for name in names:
            page = self.post("/", name=name)
        return page

    def id_of(self, name: str) -> int:
        return {row.name: row.id for row in self.get().rows}[name]

    def finish(self, *names: str) -> Page:
        for name in names:
            page = self.post(f"/tasks/{self.id_of(name)}/done/", done=1)
        return page

    def log_in(self, user: User) -> Page:
        return self.post("/accounts/login/", username=user.username, password=PASSWORD)

    def sign_up(self, username: str, password: str = PASSWORD, again: str | None = None) -> Page:
        again = password if again is None else again
        fields = {"username": username, "password1": password, "password2": again}
        return self.post("/accounts/signup/", **fields)

    def log_out(self) -> Page:
        return self.post("/accounts/logout/")


class MakeBrowser(Protocol):
    def __call__(self, user: User | None = None, **options: Any) -> Browser: ...


@pytest.fixture
def browser() -> MakeBrowser:
    """Make browsers: of a visitor, or of a user who is logged in."""

    def make(user: User | None = None, **options: Any) -> Browser:
        made = Browser(**options)
        if user is not None:
            made.client.force_login(user)
        return made

    return make


@pytest.fixture
def user(transactional_db: None) -> User:
    return User.objects.create_user("user", password=PASSWORD)


@pytest.fixture
def other(transactional_db: None) -> User:
    return User.objects.create_user("other", password=PASSWORD)


def at_once(*functions: Callable[[], Any]) -> list[Any]:
    """Call functions at the same moment,each in a thread with its own database connection. Return
    their results, or raise the exception of the first that fails."""
    start = threading.Barrier(len(functions))
    results: list[Any] = [None] * len(functions)

    def call(number: int) -> None:
        try:
            start.wait(30)
            results[number] = functions[number]()
        except BaseException as error:
            results[number] = error
        finally:
            connections.close_all()

    threads = [threading.Thread(target=call, args=(number,)) for number in range(len(functions))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive(), "a thread did not come back"
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return results
