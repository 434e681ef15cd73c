"""Pages, partial responses and the database agree with a model after every step."""

from __future__ import annotations

import html
import itertools
import random
import re
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import TYPE_CHECKING, NamedTuple

import pytest
from django.core.management import call_command

from beaker_regions.django import middleware
from tasks.lists import queries
from tasks.lists.queries import Show
from tasks.models import ImportedFile, Task
from tests.tasks.conftest import Browser, Page

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from django.contrib.auth.models import User

    from tests.tasks.conftest import MakeBrowser

SIZE = 4
"""Tasks a page: few, so that there are many pages."""
WORDS = ("milk", "Äpfel", "<b>bold</b>", "a&b", "Zug", "100%", "_")
SEARCHES = ("", "", "", "milk", "ÄPFEL", "zug a&b", "%", "nowhere")


class Row(NamedTuple):
    """A task as a row of a page shows it."""

    id: int
    name: str
    done: bool
    due: str
    """As year-month-day; "" for none."""
    files: int


@dataclass
class Item:
    """A task as it should be."""

    id: int
    name: str
    due: str
    done: bool = False
    deletion: int | None = None
    files: set[str] = field(default_factory=set)

    @property
    def row(self) -> Row:
        return Row(self.id, self.name, self.done, self.due, len(self.files))


@dataclass
class Model:
    """A list as it should be, with deleted tasks at their positions."""

    items: list[Item] = field(default_factory=list)
    deletions: list[int] = field(default_factory=list)

    def shown(self, show: str = "all", search: str = "") -> list[Item]:
        words = search.casefold().split()
        items = [
            item
            for item in self.items
            if item.deletion is None
            and {"all": True, "open": not item.done, "done": item.done}.get(
                show, bool(item.due) and not item.done
            )
            and all(word in item.name.casefold() for word in words)
        ]
        if show == "due":
            return sorted(items, key=lambda item: item.due)
        return sorted(items, key=lambda item: item.done) if show == "all" else items

    def place(self, item: Item, other: Item, *, above: bool) -> None:
        if item is not other:
            self.items.remove(item)
            self.items.insert(self.items.index(other) + (not above), item)

    def delete(self, items: list[Item], deletion: int) -> None:
        self.deletions.append(deletion)
        for item in items:
            item.deletion = deletion

    def undo(self, deletion: int) -> None:
        for item in self.items:
            if item.deletion == deletion:
                item.deletion = None


class Walk:
    """Random actions of browsers; each is applied to the model too."""

    def __init__(self, seed: int, files: dict[str, int]) -> None:
        self.random = random.Random(seed)
        self.files = files
        self.numbers = itertools.count(1)

    def step(self, browser: Browser, model: Model) -> str:
        """Do a random action. Return its description."""
        actions: list[Callable[[Browser, Model], str]] = [
            *(self.add, self.add, self.add, self.edit, self.tick, self.tick, self.move, self.move),
            *(self.step_past, self.step_past, self.delete, self.delete, self.clear_done),
            *(self.undo, self.undo, self.attach, self.detach, self.act_on_what_is_gone),
        ]
        if not model.shown():
            actions = [self.add, self.clear_done, *([self.undo] if model.deletions else [])]
        return self.random.choice(actions)(browser, model)

    def add(self, browser: Browser, model: Model) -> str:
        name, due = self.name(), self.due()
        place = self.place()
        page = post(browser, f"/{place}", name=name, due=due)
        if "show=due" in place and not due:
            page = browser.get("/")
        new = [row for row in rows(page) if row.id not in {item.id for item in model.items}]
        assert [row[1:] for row in new] == [(name, False, due, 0)]
        model.items.insert(0, Item(new[0].id, name, due))
        return f"add {name}"

    def edit(self, browser: Browser, model: Model) -> str:
        item, name, due = self.any(model), self.name(), self.due()
        post(browser, f"/tasks/{item.id}/edit/{self.place()}", name=name, due=due)
        item.name, item.due = name, due
        return f"edit {item}"

    def tick(self, browser: Browser, model: Model) -> str:
        item = self.any(model)
        item.done = self.random.random() < 0.6
        post(browser, f"/tasks/{item.id}/done/{self.place()}", done=int(item.done))
        return f"tick {item}"

    def move(self, browser: Browser, model: Model) -> str:
        # The other one may have been deleted in another tab.
        item, other = self.any(model), self.random.choice(model.items)
        side = self.random.choice(("above", "below"))
        post(browser, f"/tasks/{item.id}/move/{self.place()}", **{side: other.id})
        model.place(item, other, above=side == "above")
        return f"move {item} {side} {other}"

    def step_past(self, browser: Browser, model: Model) -> str:
        show, search = self.random.choice(("all", "open", "done")), self.random.choice(SEARCHES)
        item = self.any(model)
        up = self.random.random() < 0.5
        post(
            browser,
            f"/tasks/{item.id}/move/{query(show, search)}",
            step="up" if up else "down",
        )
        among = model.shown(show, search)
        where = model.items.index(item)
        beside = [other for other in among if (model.items.index(other) < where) is up]
        beside = [other for other in beside if other is not item and other.done == item.done]
        if beside:
            model.place(item, beside[-1 if up else 0], above=up)
        return f"step {item} {'up' if up else 'down'} in {show} {search!r}"

    def delete(self, browser: Browser, model: Model) -> str:
        item = self.any(model)
        model.delete([item], undo_of(post(browser, f"/tasks/{item.id}/delete/{self.place()}")))
        return f"delete {item}"

    def clear_done(self, browser: Browser, model: Model) -> str:
        page = post(browser, f"/tasks/clear-done/{self.place()}")
        if done := model.shown("done"):
            model.delete(done, undo_of(page))
        else:
            assert "No task is done." in page.text
        return f"clear {done}"

    def undo(self, browser: Browser, model: Model) -> str:
        """Undo any deletion, even one that was undone before."""
        if not model.deletions:
            return self.delete(browser, model)
        deletion = self.random.choice(model.deletions)
        page = post(browser, f"/tasks/undo/{deletion}/{self.place()}")
        back = [item for item in model.items if item.deletion == deletion]
        assert ("Brought back" if back else "Nothing was left to bring back.") in page.text
        model.undo(deletion)
        return f"undo {deletion} of {back}"

    def attach(self, browser: Browser, model: Model) -> str:
        item, (path, pk) = self.any(model), self.random.choice(list(self.files.items()))
        post(browser, f"/files/{pk}/attach/", task=item.id)
        item.files.add(path)
        return f"attach {path} to {item}"

    def detach(self, browser: Browser, model: Model) -> str:
        having = [item for item in model.shown() if item.files]
        if not having:
            return self.attach(browser, model)
        item, (path, pk) = (
            self.random.choice(having),
            self.random.choice(list(self.files.items())),
        )
        post(browser, f"/tasks/{item.id}/files/{pk}/remove/")
        item.files.discard(path)
        return f"detach {path} from {item}"

    def act_on_what_is_gone(self, browser: Browser, model: Model) -> str:
        """As from a page that was open all the time."""
        gone = [item.id for item in model.items if item.deletion] or [10**9]
        here, gone_id = self.any(model).id, self.random.choice(gone)
        path, fields = self.random.choice(
            (
                (f"/tasks/{gone_id}/edit/", {"name": "back"}),
                (f"/tasks/{gone_id}/done/", {"done": 1}),
                (f"/tasks/{gone_id}/move/", {"above": here}),
                (f"/tasks/{here}/move/", {"below": 10**9}),
                (f"/tasks/{gone_id}/delete/", {}),
                (f"/files/{next(iter(self.files.values()))}/attach/", {"task": gone_id}),
                ("/tasks/undo/1000000000/", {}),
            )
        )
        assert browser.post(path, **fields).status == 404
        return f"refused {path} {fields}"

    def any(self, model: Model) -> Item:
        return self.random.choice(model.shown())

    def name(self) -> str:
        words = self.random.choices(WORDS, k=self.random.randint(1, 2))
        return f"{' '.join(words)} {next(self.numbers)}"

    def due(self) -> str:
        days = self.random.choice((None, None, 0, 1, 1, 400))
        return "" if days is None else str(date(2030, 1, 1) + timedelta(days))

    def place(self) -> str:
        show = self.random.choice(list(Show))
        return query(show, self.random.choice(SEARCHES), self.random.randint(1, 4))


def query(show: str, search: str, page: int = 1) -> str:
    words = search.replace("%", "%25").replace("&", "%26")
    return f"?show={show}&page={page}" + (f"&q={words}" if search else "")


def post(browser: Browser, path: str, **fields: object) -> Page:
    page = browser.post(path, **fields)
    assert page.status == 200, path
    return page


def rows(page: Page) -> list[Row]:
    """Return the tasks of a page as it shows them."""
    return list(map(row, re.findall(r'<li id="task-.*?</li>', page.html, re.DOTALL)))


def row(item: str) -> Row:
    def said(pattern: str, otherwise: str = "") -> str:
        found = re.search(pattern, item)
        return html.unescape(found[1]) if found else otherwise

    name = said('aria-label="Edit: (.*?)"')
    assert said(r'class="name"[^>]*>([^<]*)') == name
    return Row(
        int(said(r'id="task-(\d+)"')),
        name,
        said('aria-label="(.*?):') == "Open again",
        said('datetime="(.*?)"'),
        int(said(r">(\d+) files?<", "0")),
    )


def undo_of(page: Page) -> int:
    """Return the deletion that the page offers to undo, the last if there are several."""
    return int(re.findall(r'action="/tasks/undo/(\d+)/', page.html)[-1])


def agrees(page: Page, model: Model, show: str, search: str, number: int) -> None:
    """Check a page of a list."""
    tasks = model.shown(show, search)
    last = max(1, -(-len(tasks) // SIZE))
    number = min(number, last)
    assert page.status == 200
    assert rows(page) == [item.row for item in tasks[(number - 1) * SIZE : number * SIZE]]
    assert re.findall(r"Page (\d+) of (\d+)", page.text) == (
        [(str(number), str(last))] if last > 1 else []
    )
    counts = {str(tab): len(model.shown(tab, search)) for tab in Show}
    if not counts["due"] and show != "due":
        del counts["due"]
    assert page.counts == (list(counts.values()) if counts["all"] or search else [])


def check(browsers: list[Browser], model: Model, walk: Walk) -> None:
    """Compare the pages of all browsers of a list, and the rows, with the model."""
    some = walk.random.choice
    tab, search, page = some(list(Show)), some(SEARCHES), some((1, 2, 9))
    for browser in browsers:
        for show, words, number, part in (
            ("all", "", 1, False),
            ("all", "", 1, True),
            (tab, "", page, some((False, True))),
            (tab, search, page, some((False, True))),
        ):
            headers = {"X-Part": "1"} if part else {}
            path = f"/{query(show, words, number)}"
            seen = Page(browser.client.get(path, headers=headers, follow=True))
            assert ("<html" in seen.html) is not part
            agrees(seen, model, show, words, number)
        for _ in range(4):  # the last one is answered as an equal request
            seen = browser.get("/")
        agrees(seen, model, "all", "", 1)
    browser, (path, pk) = some(browsers), some(list(walk.files.items()))
    attached = [item.name for item in model.shown() if path in item.files]
    assert listed(browser.get(f"/files/{pk}/"), "Remove from") == attached
    if model.shown():
        item = walk.any(model)
        editor = browser.get(f"/tasks/{item.id}/edit/")
        assert (editor.typed("name"), editor.typed("due")) == (item.name, item.due)
        assert listed(editor, "Remove") == sorted(item.files)
    tasks = Task.with_deleted.filter(pk__in=[item.id for item in model.items])
    found = [
        (
            *Row(task.pk, task.name, task.done, str(task.due or ""), task.attachments.count()),
            task.deletion_id is not None,
        )
        for task in tasks
    ]
    assert found == [(*item.row, item.deletion is not None) for item in model.items]


def listed(page: Page, label: str) -> list[str]:
    return list(map(html.unescape, re.findall(rf'aria-label="{label}: (.*?)"', page.html)))


@pytest.fixture
def files(tmp_path: Path, transactional_db: None) -> dict[str, int]:
    """The ids of imported files, by path."""
    for name in ("a.txt", "b & c.txt"):
        (tmp_path / name).touch()
    call_command("import_data", str(tmp_path))
    return dict(ImportedFile.objects.values_list("path", "pk"))


@pytest.mark.parametrize("seed", [15, pytest.param(16, marks=pytest.mark.slow)])
def test_pages_and_rows_match_the_model_after_every_step(
    browser: MakeBrowser,
    user: User,
    files: dict[str, int],
    monkeypatch: pytest.MonkeyPatch,
    seed: int,
) -> None:
    monkeypatch.setattr(queries, "PAGE_SIZE", SIZE)
    monkeypatch.setattr(middleware, "APART", 0.0)
    walk = Walk(seed, files)
    visitor, known = browser(), [browser(user), browser(user)]
    theirs, ours = Model(), Model()
    done: list[str] = []
    for number in range(40):
        if number == 30:
            # A deleted task has no position among the tasks of another list until it comes back.
            for guest, model in ((visitor, theirs), (known[0], ours)):
                for deletion in model.deletions:
                    post(guest, f"/tasks/undo/{deletion}/")
                    model.undo(deletion)
            visitor.log_in(user)
            merge(ours, theirs)
            known.append(visitor)
        guest = walk.random.choice(known if number >= 30 else [*known, visitor])
        alone = guest is visitor and number < 30
        done.append(walk.step(guest, theirs if alone else ours))
        try:
            check([visitor] if alone else known, theirs if alone else ours, walk)
        except AssertionError as error:
            error.add_note("After:\n" + "\n".join(done))
            raise


def merge(ours: Model, theirs: Model) -> None:
    """Merge the tasks of two lists into one. The order of each list is kept."""
    own = {item.id: item for model in (ours, theirs) for item in model.items}
    merged = [own[task.pk] for task in Task.objects.filter(pk__in=own)]
    for model in (ours, theirs):
        assert [item for item in merged if item in model.items] == model.items
    ours.items = merged
