"""The task list, used with scripts and without."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import expect

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Locator, Page

    from tests.browser.conftest import Visit

PHONE: dict[str, Any] = {"viewport": {"width": 390, "height": 844}, "has_touch": True}
DESKTOP: dict[str, Any] = {"viewport": {"width": 1280, "height": 900}}
PASSWORD = "Zx81-spectrum!"

with_and_without_scripts = pytest.mark.parametrize(
    "scripts", [True, False], ids=["scripts", "no scripts"]
)

with_scripts_and_slowly_without = pytest.mark.parametrize(
    "scripts",
    [True, pytest.param(False, marks=pytest.mark.slow)],
    ids=["scripts", "no scripts"],
)


def add(page: Page, *names: str, due: str = "") -> None:
    for name in names:
        form = page.locator("#add")
        form.get_by_label("Task").fill(name)
        if due:
            set_date(page, due)
        form.get_by_role("button", name="Add").click()
        said(page, "Added")


def set_date(page: Page, due: str) -> None:
    page.locator("#add summary").click()
    page.locator("#add").get_by_label("Due").fill(due)


def fill(page: Page, *names: str) -> None:
    """Add many tasks, quickly."""
    token = page.locator("#add [name=csrfmiddlewaretoken]").get_attribute("value")
    for name in names:
        form: Any = {"csrfmiddlewaretoken": token, "name": name}
        assert page.request.post("/", form=form, max_redirects=0).status == 302
    page.request.get("/")  # this removes the messages
    page.reload()


def said(page: Page, text: str) -> None:
    expect(page.get_by_role("status")).to_contain_text(text)


def names(page: Page) -> Locator:
    return page.locator(".tasks .name")


def show(page: Page, tab: str) -> None:
    page.get_by_role("navigation", name="Show").get_by_role("link", name=tab).click()


def sign(page: Page, *, up: bool, user: str) -> None:
    page.get_by_role("link", name="Sign up" if up else "Log in", exact=True).first.click()
    page.get_by_label("Username").fill(user)
    page.get_by_label("Password", exact=False).first.fill(PASSWORD)
    if up:
        page.get_by_label("Password confirmation").fill(PASSWORD)
    page.get_by_role("main").get_by_role("button", name="Sign up" if up else "Log in").click()
    expect(page.get_by_role("button", name="Log out")).to_be_visible()


@contextmanager
def one_document(page: Page, scripts: bool) -> Iterator[None]:
    """With scripts, no action in this block loads a page."""
    if scripts:
        page.evaluate("() => { window.same = true }")
    yield
    if scripts:
        assert page.evaluate("() => window.same"), "the page was loaded again"


@pytest.mark.parametrize(
    ("screen", "scripts"),
    [
        (DESKTOP, True),
        (PHONE, False),
        pytest.param(PHONE, True, marks=pytest.mark.slow),
        pytest.param(DESKTOP, False, marks=pytest.mark.slow),
    ],
    ids=["desktop", "phone, no scripts", "phone", "desktop, no scripts"],
)
def test_add_tick_edit_and_delete(visit: Visit, screen: dict[str, Any], scripts: bool) -> None:
    page = visit(java_script_enabled=scripts, **screen)
    expect(page.get_by_text("Nothing to do yet")).to_be_visible()
    with one_document(page, scripts):
        add(page, "Buy <b>milk</b>", "Water the plants 🌱")
        add(page, "Call Zoë", due="2999-12-31")
        expect(names(page)).to_have_text(["Call Zoë", "Water the plants 🌱", "Buy <b>milk</b>"])
        expect(page.locator(".row", has_text="Call Zoë")).to_contain_text("31 Dec 2999")

        page.get_by_role("button", name="Mark as done: Buy <b>milk</b>").click()
        said(page, "“Buy <b>milk</b>” is done.")
        show(page, "Done")
        expect(names(page)).to_have_text(["Buy <b>milk</b> (done)"])
        show(page, "Open")
        expect(names(page)).to_have_text(["Call Zoë", "Water the plants 🌱"])

        page.get_by_role("link", name="Edit: Call Zoë").click()
        editor = page.locator(".editor")
        expect(editor.get_by_label("Due")).to_have_value("2999-12-31")
        editor.get_by_label("Task").fill(" ")
        editor.get_by_role("button", name="Save").click()
        expect(editor).to_contain_text("Give the task a name")
        editor.get_by_label("Task").fill("Write to Zoë")
        editor.get_by_label("Due").fill("")
        editor.get_by_role("button", name="Save").click()
        expect(names(page)).to_have_text(["Write to Zoë", "Water the plants 🌱"])
        expect(page.locator("time")).to_have_count(0)

        page.get_by_role("button", name="Delete: Write to Zoë").click()
        said(page, "Deleted")
        expect(names(page)).to_have_text(["Water the plants 🌱"])
    page.reload()
    expect(names(page)).to_have_text(["Water the plants 🌱"])


@with_and_without_scripts
def test_a_deleted_task_comes_back_to_its_position(visit: Visit, scripts: bool) -> None:
    page = visit(java_script_enabled=scripts)
    with one_document(page, scripts):
        add(page, "Three", "Two", "One")
        page.get_by_role("button", name="Delete: Two").click()
        expect(names(page)).to_have_text(["One", "Three"])
        page.get_by_role("button", name="Undo").click()
        expect(names(page)).to_have_text(["One", "Two", "Three"])

        for name in ("One", "Three"):
            page.get_by_role("button", name=f"Mark as done: {name}").click()
            said(page, f"“{name}” is done.")
        show(page, "Done")
        page.get_by_role("button", name="Clear done").click()
        said(page, "Deleted 2 done tasks.")
        expect(names(page)).to_have_count(0)
        page.get_by_role("button", name="Undo").click()
        expect(names(page)).to_have_text(["One (done)", "Three (done)"])
        show(page, "All")
        expect(names(page)).to_have_text(["Two", "One (done)", "Three (done)"])
        expect(page.get_by_role("button", name="Undo")).to_have_count(0)
    page.reload()
    expect(names(page)).to_have_text(["Two", "One (done)", "Three (done)"])


@with_and_without_scripts
def test_search_within_a_tab(visit: Visit, scripts: bool) -> None:
    page = visit(java_script_enabled=scripts)
    with one_document(page, scripts):
        add(page, "Pay the 100% bill", "Pay the rent", "Call ZOË")
        page.get_by_role("button", name="Mark as done: Pay the rent").click()
        said(page, "is done")

        def search(text: str) -> None:
            page.get_by_role("searchbox").fill(text)
            if not scripts:  # with scripts, the search runs while one types
                page.get_by_role("button", name="Search").click()

        search("pay")
        expect(names(page)).to_have_text(["Pay the 100% bill", "Pay the rent (done)"])
        show(page, "Open")
        expect(names(page)).to_have_text(["Pay the 100% bill"])
        expect(page.get_by_role("searchbox")).to_have_value("pay")
        search("0%")
        expect(names(page)).to_have_text(["Pay the 100% bill"])
        search("no such task")
        expect(page.get_by_text("Nothing found")).to_be_visible()
        page.get_by_role("link", name="Show all tasks").click()
        expect(names(page)).to_have_count(3)
        expect(page.get_by_role("searchbox")).to_have_value("")


def test_everything_works_with_the_keyboard(visit: Visit) -> None:
    page = visit(**DESKTOP)

    def tab_to(name: str) -> None:
        for _ in range(40):
            page.keyboard.press("Tab")
            # Not `:focus`, which a date's button to its calendar does not match.
            if name in page.evaluate(
                "(({ariaLabel, name, textContent}) => ariaLabel || name || textContent)"
                "(document.activeElement)"
            ):
                return
        pytest.fail(f"no way to {name!r} by keyboard")

    tab_to("Skip to the content")
    page.keyboard.press("Enter")
    tab_to("name")
    page.keyboard.type("By hand")
    page.keyboard.press("Enter")
    expect(names(page)).to_have_text(["By hand"])
    tab_to("Mark as done: By hand")
    page.keyboard.press("Enter")
    expect(names(page)).to_have_text(["By hand (done)"])
    tab_to("Done (1)")  # where it is folded
    page.keyboard.press("Enter")
    tab_to("Delete: By hand")
    page.keyboard.press("Enter")
    expect(page.get_by_text("Nothing to do yet")).to_be_visible()


@with_and_without_scripts
def test_an_error_is_shown_beside_the_field_and_the_input_is_kept(
    visit: Visit, scripts: bool
) -> None:
    page = visit(java_script_enabled=scripts)
    field = page.locator("#add").get_by_label("Task")
    field.fill("x" * 256)
    set_date(page, "2030-01-31")
    field.press("Enter")
    expect(page.get_by_text("A name has at most 255 characters")).to_be_visible()
    expect(field).to_have_value("x" * 256)
    expect(field).to_have_attribute("aria-invalid", "true")
    expect(page.locator("#add").get_by_label("Due")).to_have_value("2030-01-31")


@with_and_without_scripts
def test_long_lists_have_pages(visit: Visit, scripts: bool) -> None:
    page = visit(java_script_enabled=scripts)
    fill(page, *(f"Task {number}" for number in range(51)))
    with one_document(page, scripts):
        expect(names(page)).to_have_count(50)
        page.get_by_role("link", name="Older").click()
        expect(names(page)).to_have_text(["Task 0"])
        page.get_by_role("link", name="Newer").click()
        expect(names(page).first).to_have_text("Task 50")
