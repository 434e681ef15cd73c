"""Users and visitors act at random on all pages, in all states of the regions. No one sees or
changes the data of others, or sees removed data."""

from __future__ import annotations

import random
import re
from typing import TYPE_CHECKING, Any

import pytest
from django.contrib.auth.models import User
from django.urls import reverse

from beaker_regions import CacheManager, parse_cache_config_options
from beaker_regions.django import middleware
from beakercache import cache
from tasks import urls
from tasks.lists.ownership import SESSION_KEY
from tasks.models import ImportedFile, Share, Task, TaskList
from tests.tasks.conftest import PASSWORD, Browser
from tests.tasks.importing.test_import import import_data
from tests.wsgi_client import WSGIClient

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers import Memcached

pytestmark = pytest.mark.django_db(transaction=True)

STEPS = 150
MARK = "kxq"
"""Part of the name of every task and user, so a search for it finds all tasks."""
NAME = re.compile(rf"{MARK}-\d+")
QUERIES = ["", "?show=open", "?show=done", "?show=due", "?page=2", f"?q={MARK}"]
QUERIES += [f"?page={10**30}", "?page=-1", "?q=%00", "?show=%00", "?q=" + "x" * 5000]


def name(chance: random.Random) -> str:
    return f"{MARK}-{chance.randrange(10**9)}"


class Somebody:
    """A browser and its present user."""

    def __init__(self) -> None:
        self.browser = Browser(WSGIClient)
        self.user: User | None = None

    def list_id(self) -> int | None:
        if self.user is not None:
            return TaskList.objects.filter(user=self.user).values_list("pk", flat=True).first()
        known: int | None = self.browser.client.session.get(SESSION_KEY)
        return known

    def names(self) -> set[str]:
        """Return the names that this user may see now, including deleted tasks that can be
        restored."""
        tasks = Task._base_manager.filter(list=self.list_id()).values_list("name", flat=True)
        return {*tasks, self.user.username if self.user else ""}

    def act(self, chance: random.Random) -> None:
        """Do a random action, and check the whole answer."""
        mine, allowed, sent = self.list_id(), self.names(), name(chance)
        others = list(Task._base_manager.exclude(list=mine).order_by("pk").values())
        response = self._request(chance, sent)
        assert response.status_code < 500
        assert response.status_code != 403, "the token was another's"
        shown = response.getvalue().decode(errors="replace")
        beside = f"{response.headers} {response.cookies} {getattr(response, 'redirect_chain', '')}"
        leaked = set(NAME.findall(shown + beside)) - allowed - self.names() - {sent}
        assert not leaked, f"{response.request['PATH_INFO']} shows {leaked}"
        if self.list_id() == mine:
            now = Task._base_manager.exclude(list=mine).order_by("pk").values()
            assert list(now) == others, f"{response.request['PATH_INFO']} changes another's"

    def _request(self, chance: random.Random, sent: str) -> Any:
        client = self.browser.client
        match chance.choices(["look", "post", "add", "in or out"], [8, 8, 3, 1])[0]:
            case "look":
                headers = {"X-Part": "1"} if chance.random() < 0.3 else {}
                return client.get(address(chance, self) + chance.choice(QUERIES), headers=headers)
            case "post":
                fields = {"name": sent, "done": chance.choice("01"), "task": task_id(chance, self)}
                fields |= {chance.choice(["above", "below"]): task_id(chance, self)}
                return self._post(address(chance, self), **fields)
            case "add":
                return self._post(reverse("tasks:list"), name=sent)
            case _ if self.user is not None:
                self.user = None
                return self._post(reverse("logout"))
            case _:
                self.user = chance.choice(User.objects.all())
                return self._post(reverse("login"), username=self.user.username, password=PASSWORD)

    def _post(self, path: str, **fields: Any) -> Any:
        """Send a form with the token of one of this user's pages."""
        page = self.browser.get(reverse("tasks:list")).html
        (token, *_) = re.findall(r'name="csrfmiddlewaretoken" value="(\w+)"', page)
        fields["csrfmiddlewaretoken"] = token
        return self.browser.client.post(path, fields, follow=True)


def task_id(chance: random.Random, who: Somebody) -> int:
    """Return the id of a task, in half of the cases of the user's own."""
    tasks = Task._base_manager.all()
    if chance.random() < 0.5:
        tasks = tasks.filter(list=who.list_id())
    return chance.choice([0, 10**30, *tasks.values_list("pk", flat=True)])


def address(chance: random.Random, who: Somebody) -> str:
    """Return a random address of the site."""
    pattern = chance.choice(urls.urlpatterns)
    # Others' addresses are secret.
    tokens = Share.objects.filter(list=who.list_id()).values_list("token", flat=True)
    values = {
        "task_id": task_id(chance, who),
        "token": chance.choice(["0" * 32, *tokens]),
        "pk": chance.choice([0, 10**30, *ImportedFile.objects.values_list("pk", flat=True)]),
    }
    wanted = pattern.pattern.converters
    arguments = {each: values.get(each, chance.choice([1, 2, 3, 10**30])) for each in wanted}
    return reverse(f"{urls.app_name}:{pattern.name}", kwargs=arguments)


def put_on_memcached(server: Memcached, monkeypatch: pytest.MonkeyPatch) -> None:
    """Store the region of the pages on this server until the test ends."""
    options = {"cache.regions": "functions", "cache.secret": "s" * 32}
    options |= {"cache.functions.type": "ext:memcached", "cache.functions.url": server.address}
    manager = CacheManager(**parse_cache_config_options(options))
    monkeypatch.setattr(cache["functions"], "store", manager["functions"].store)


@pytest.fixture(params=[pytest.param("files", marks=pytest.mark.slow), "memcached"])
def _store(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "memcached":
        put_on_memcached(request.getfixturevalue("memcached"), monkeypatch)


@pytest.mark.usefixtures("_store")
def test_tasks_of_others_are_invisible_and_unchangeable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(middleware, "APART", 0.0)
    chance = random.Random(1)
    for number in (1, 2):
        User.objects.create_user(f"{MARK}-{number}", password=PASSWORD)
    (tmp_path / "lines.txt").write_text("a line\nanother\n")
    (tmp_path / "image.png").write_bytes(b"\x89PNG")
    import_data(tmp_path)
    everybody = [Somebody() for _ in range(5)]
    for step in range(STEPS):
        chance.choice(everybody).act(chance)
        if step % 40 == 39:
            cache.invalidate_region("functions")
    assert Task._base_manager.count() > 20
