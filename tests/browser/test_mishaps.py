"""Nothing is lost or done twice: double presses, unreadable dates, lost connections, other tabs."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import uuid4

from playwright.sync_api import expect

from tests.browser.test_lists import (
    DESKTOP,
    add,
    fill,
    names,
    said,
    set_date,
    sign,
    with_scripts_and_slowly_without,
)

if TYPE_CHECKING:
    from playwright.sync_api import Route

    from tests.browser.conftest import Visit


def hold(route: Route) -> None:
    """Let pages through. A form waits until the page is routed no longer."""
    if route.request.method != "POST":
        route.continue_()


def test_a_second_press_is_the_same_press(visit: Visit) -> None:
    page = visit(**DESKTOP)
    fill(page, "Three", "Two")
    field = page.locator("#add").get_by_label("Task")
    field.fill("One")
    page.locator("#add").get_by_role("button", name="Add").dblclick()
    expect(names(page)).to_have_text(["One", "Two", "Three"])
    said(page, "Added “One”")
    field.fill("Zero")
    field.press("Enter")
    field.press("Enter")
    expect(names(page)).to_have_text(["Zero", "One", "Two", "Three"])
    expect(page.locator(".errorlist")).to_have_count(0)

    page.get_by_role("button", name="Delete: One").dblclick()
    expect(names(page)).to_have_text(["Zero", "Two", "Three"])
    page.get_by_role("button", name="Undo").click()
    expect(names(page)).to_have_text(["Zero", "One", "Two", "Three"])

    # The first press is still under way at the second one.
    page.route("**/*", hold)
    for button in ("Delete: Two", "Mark as done: Three"):
        page.get_by_role("button", name=button).evaluate("each => { each.click(); each.click() }")
    field.fill("Typed quickly")
    field.press("Enter")
    field.press("Enter")
    field.fill("x" * 256)
    field.press("Enter")
    page.unroute("**/*")
    # What was good is shown, though the last one was refused.
    expect(page.get_by_text("A name has at most 255 characters")).to_be_visible()
    expect(names(page)).to_have_text(["Typed quickly", "Zero", "One", "Three (done)"])


def test_two_tabs_begin_one_list_together(visit: Visit) -> None:
    page = visit(**DESKTOP)
    other = page.context.new_page()
    other.goto("/")
    for tab, name in ((page, "One"), (other, "Two")):
        tab.locator("#add").get_by_label("Task").fill(name)
    for tab in (page, other):
        tab.evaluate("() => document.getElementById('add').requestSubmit()")
    expect(names(page).first).to_have_text("One")
    expect(names(other).first).to_have_text("Two")
    page.reload()
    expect(names(page)).to_have_count(2)


def test_a_second_press_of_a_form_that_loads_a_page_is_the_same_press(visit: Visit) -> None:
    page = visit(**DESKTOP)
    page.goto("/tasks/lines/")
    page.get_by_label("One task a line").fill("One\nTwo")
    heard: list[str] = []
    page.on("console", lambda message: heard.append(message.text))
    page.get_by_role("main").get_by_role("button", name="Add").evaluate(
        """button => {
            addEventListener("submit", event => console.log(`refused: ${event.defaultPrevented}`));
            button.click();
            button.click();
        }"""
    )
    expect(names(page)).to_have_text(["One", "Two"])
    assert heard == ["refused: false", "refused: true"]


@with_scripts_and_slowly_without
def test_a_date_that_cannot_be_read_is_refused_and_erases_nothing(
    visit: Visit, scripts: bool
) -> None:
    page = visit(java_script_enabled=scripts, **DESKTOP)
    add(page, "Pay", due="2030-01-31")
    page.get_by_role("link", name="Edit: Pay").click()
    editor = page.locator(".editor")
    due = editor.get_by_label("Due")
    due.focus()
    page.keyboard.type("0230")  # the thirtieth of February, on its way
    editor.get_by_role("button", name="Save").click()
    assert due.evaluate("field => field.validity.badInput")
    if scripts:
        expect(due).to_be_focused()
        expect(due).to_have_attribute("aria-invalid", "true")
        expect(editor).to_contain_text("There is no such date")
        page.keyboard.press("Escape")
        form = page.locator("#add")
        form.get_by_label("Task").fill("Half a date")
        form.locator("summary").click()
        form.get_by_label("Due").focus()
        page.keyboard.type("02")
        page.keyboard.press("Enter")
        expect(form).to_contain_text("There is no such date")
        expect(form.get_by_label("Task")).to_have_value("Half a date")
    page.goto("/")
    expect(page.locator("time")).to_have_attribute("datetime", "2030-01-31")
    expect(names(page)).to_have_text(["Pay"])


def test_what_was_not_saved_is_not_shown_as_if_it_were(visit: Visit, complaints: list[str]) -> None:
    page = visit(**DESKTOP)
    fill(page, "Three", "Two", "One")
    page.context.set_offline(True)
    page.get_by_role("link", name="Edit: Three").press("Alt+ArrowUp")
    said(page, "No connection: nothing was saved.")
    expect(names(page)).to_have_text(["One", "Two", "Three"])
    page.get_by_role("button", name="Close").click()
    expect(page.get_by_role("status")).to_be_empty()

    page.get_by_role("button", name="Delete: Two").click()
    said(page, "No connection: nothing was saved.")
    expect(names(page)).to_have_text(["One", "Two", "Three"])
    page.context.set_offline(False)
    expect(page.get_by_role("status")).to_be_empty()
    complaints.clear()


@with_scripts_and_slowly_without
def test_a_form_of_another_viewer_is_refused_and_its_text_kept(
    visit: Visit, complaints: list[str], scripts: bool
) -> None:
    page = visit(java_script_enabled=scripts)
    sign(page, up=True, user=uuid4().hex)
    add(page, "Mine")
    other = page.context.new_page()
    other.goto("/")
    other.get_by_role("button", name="Log out").click()
    expect(other.get_by_role("link", name="Log in")).to_be_visible()

    page.locator("#add").get_by_label("Task").fill("Secret plan")
    page.locator("#add").get_by_role("button", name="Add").click()
    if scripts:
        said(page, "You have logged in or out in another tab")
        expect(page.get_by_role("link", name="Log in")).to_be_visible()
        expect(page.locator("#add").get_by_label("Task")).to_have_value("Secret plan")
        expect(names(page)).to_have_count(0)
    other.reload()
    expect(names(other)).to_have_count(0)
    assert [complaint.split()[0] for complaint in complaints] == ["403"]
    complaints.clear()
    page.get_by_role("main").get_by_role("button", name="Add").click()
    expect(names(page)).to_have_text(["Secret plan"])


def test_what_is_typed_outlives_the_page(visit: Visit) -> None:
    page = visit(**DESKTOP)
    fill(page, "Two", "One")
    page.locator("#add").get_by_label("Task").fill("Half typed")
    set_date(page, "2030-01-31")
    page.get_by_role("link", name="Edit: Two").click()
    page.locator(".editor").get_by_label("Task").fill("Half edited")
    page.get_by_role("link", name="Files").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Files")
    page.get_by_role("link", name="Tasks").click()
    for _ in range(2):
        expect(page.locator("#add").get_by_label("Task")).to_have_value("Half typed")
        expect(page.locator("#add").get_by_label("Due")).to_have_value("2030-01-31")
        expect(page.locator(".editor").get_by_label("Task")).to_have_value("Half edited")
        page.reload()
    page.get_by_role("button", name="Save").click()
    page.locator("#add").get_by_role("button", name="Add").click()
    expect(names(page)).to_have_text(["Half typed", "One", "Half edited"])
    page.reload()
    expect(page.locator("#add").get_by_label("Task")).to_have_value("")
    expect(page.locator(".editor")).to_have_count(0)

    # Another viewer of this tab sees no draft of the former one.
    sign(page, up=True, user=uuid4().hex)
    page.locator("#add").get_by_label("Task").fill("Secret plan")
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_role("link", name="Log in")).to_be_visible()
    expect(page.locator("#add").get_by_label("Task")).to_have_value("")


@with_scripts_and_slowly_without
def test_an_edited_task_that_was_deleted_elsewhere_can_be_added_as_new(
    visit: Visit, complaints: list[str], scripts: bool
) -> None:
    page = visit(java_script_enabled=scripts)
    fill(page, "Two", "One")
    page.get_by_role("link", name="Edit: One").click()
    page.locator(".editor").get_by_label("Task").fill("Much typed")
    page.locator(".editor").get_by_label("Due").fill("2030-01-31")
    other = page.context.new_page()
    other.goto("/")
    other.get_by_role("button", name="Delete: One").click()
    expect(names(other)).to_have_text(["Two"])
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("Deleted elsewhere")).to_be_visible()
    assert [complaint.split()[0] for complaint in complaints] == ["404"]
    complaints.clear()
    page.get_by_role("button", name="Add as new").click()
    expect(names(page)).to_have_text(["Much typed", "Two"])
    expect(page.locator("time")).to_have_attribute("datetime", "2030-01-31")
