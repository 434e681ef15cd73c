"""The list with scripts: editing in place, ordering by hand, keyboard shortcuts, and messages after
failures."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from tests.browser.test_lists import DESKTOP, add, fill, names, one_document, said, set_date

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

    from tests.browser.conftest import Visit

BACKGROUND = "() => getComputedStyle(document.body).backgroundColor"


def link(page: Page, name: str) -> Locator:
    return page.get_by_role("link", name=f"Edit: {name}", exact=True)


def order(page: Page, *expected: str) -> None:
    """Check that the tasks have this order, and keep it."""
    expect(names(page)).to_have_text(expected)
    said(page, "Moved")
    page.reload()
    expect(names(page)).to_have_text(expected)


def test_a_task_is_edited_in_its_row_by_keyboard(visit: Visit) -> None:
    page = visit()
    fill(page, "Two", "One")
    field = page.locator(".editor").get_by_label("Task")
    with one_document(page, True):
        link(page, "Two").press("F2")
        expect(field).to_be_focused()
        expect(field).to_have_value("Two")
        page.keyboard.type("Not this")
        page.keyboard.press("Escape")
        expect(names(page)).to_have_text(["One", "Two"])
        expect(link(page, "Two")).to_be_focused()

        page.keyboard.press("Enter")
        expect(field).to_be_focused()
        page.keyboard.type("Second")
        page.keyboard.press("Enter")
        expect(names(page)).to_have_text(["One", "Second"])
        expect(page.locator(".editor")).to_have_count(0)
        expect(link(page, "Second")).to_be_focused()
    page.reload()
    expect(names(page)).to_have_text(["One", "Second"])


def test_tasks_are_ordered_by_keys_and_by_dragging(visit: Visit) -> None:
    page = visit(**DESKTOP)
    fill(page, "Three", "Two", "One")
    link(page, "Three").press("Alt+ArrowUp")
    expect(link(page, "Three")).to_be_focused()
    order(page, "One", "Three", "Two")
    link(page, "One").press("Alt+ArrowDown")
    order(page, "Three", "One", "Two")

    grip = page.locator(".row", has_text="Three").locator(".grip").bounding_box()
    below = page.locator(".row", has_text="Two").bounding_box()
    assert grip is not None
    assert below is not None
    page.mouse.move(grip["x"] + grip["width"] / 2, grip["y"] + grip["height"] / 2)
    page.mouse.down()
    page.mouse.move(grip["x"], below["y"] + below["height"], steps=5)
    page.mouse.up()
    order(page, "One", "Two", "Three")


def test_dates_near_today_are_shown_in_words(visit: Visit) -> None:
    page = visit()
    page.clock.set_fixed_time("2030-12-31T12:00:00")
    add(page, "In time", due="2031-01-01")
    expect(page.locator("time")).to_have_text("Tomorrow")
    page.clock.set_fixed_time("2031-01-03T12:00:00")
    add(page, "Now", due="2031-01-03")
    expect(page.locator("time")).to_have_text(["Today", "Overdue: 1 Jan"])
    page.get_by_role("button", name="Mark as done: In time").click()
    expect(page.locator("time")).to_have_text(["Today", "1 Jan"])


def test_keys_work_as_the_help_says(visit: Visit) -> None:
    page = visit(**DESKTOP)
    with one_document(page, True):
        # Where there is a mouse, typing begins in the field.
        expect(page.locator("#id_name")).to_be_focused()
        page.keyboard.press("Escape")
        page.keyboard.press("n")
        page.keyboard.type("? z / n")  # while one types, keys are letters
        page.keyboard.press("Enter")
        expect(names(page)).to_have_text(["? z / n"])
        page.keyboard.type("Second")
        page.keyboard.press("Enter")
        expect(names(page)).to_have_text(["Second", "? z / n"])
        page.locator("#list").focus()

        page.keyboard.press("?")
        help_dialog = page.get_by_role("dialog", name="Keyboard shortcuts")
        expect(help_dialog).to_be_visible()
        page.keyboard.press("Escape")
        expect(help_dialog).to_be_hidden()

        page.keyboard.press("j")
        page.keyboard.press("j")
        expect(link(page, "? z / n")).to_be_focused()
        page.keyboard.press("k")
        page.keyboard.press("x")
        expect(names(page)).to_have_text(["? z / n", "Second (done)"])
        said(page, "is done")
        expect(link(page, "? z / n")).to_be_focused()
        page.keyboard.press("Delete")
        page.keyboard.press("z")
        said(page, "Brought back")
        expect(names(page)).to_have_text(["? z / n", "Second (done)"])

        page.keyboard.press("/")
        expect(page.get_by_role("searchbox")).to_be_focused()


def test_a_chosen_theme_is_remembered(visit: Visit) -> None:
    page = visit(color_scheme="light")
    light = page.evaluate(BACKGROUND)
    page.get_by_role("button", name="Light or dark").click()
    dark = page.evaluate(BACKGROUND)
    assert dark != light
    bar = page.locator("meta[name=theme-color]:not([media='not all'])")
    expect(bar).to_have_attribute("content", "#1e1e29")
    page.reload()
    assert page.evaluate(BACKGROUND) == dark
    page.goto("/files/")
    assert page.evaluate(BACKGROUND) == dark
    page.get_by_role("button", name="Light or dark").click()
    page.reload()
    assert page.evaluate(BACKGROUND) == light


def test_without_a_network_the_input_is_kept(visit: Visit, complaints: list[str]) -> None:
    page = visit()
    add(page, "Here already")
    form = page.locator("#add")
    page.context.set_offline(True)
    form.get_by_label("Task").fill("On the train")
    set_date(page, "2030-01-31")
    form.get_by_role("button", name="Add").click()
    said(page, "No connection: nothing was saved.")
    expect(form.get_by_label("Task")).to_have_value("On the train")
    expect(form.get_by_label("Due")).to_have_value("2030-01-31")

    link(page, "Here already").click()
    editor = page.locator(".editor")
    editor.get_by_label("Task").fill("Changed on the train")
    editor.get_by_role("button", name="Save").click()
    expect(editor).not_to_have_attribute("aria-busy", "true")
    expect(editor.get_by_label("Task")).to_have_value("Changed on the train")

    page.context.set_offline(False)
    assert {complaint.split()[0] for complaint in complaints} == {"net::ERR_INTERNET_DISCONNECTED"}
    complaints.clear()
    editor.get_by_role("button", name="Save").click()
    said(page, "Saved")
    form.get_by_role("button", name="Add").click()
    expect(names(page)).to_have_text(["On the train", "Changed on the train"])


def test_a_tick_that_does_not_reach_the_server_is_undone(
    visit: Visit, complaints: list[str]
) -> None:
    page = visit()
    add(page, "Here already")
    page.context.set_offline(True)
    page.get_by_role("button", name="Mark as done").click()
    said(page, "No connection: nothing was saved.")
    expect(page.locator(".row.done")).to_have_count(0)
    complaints.clear()


@pytest.mark.parametrize("control", ["check", "delete", "editor"])
def test_a_task_that_another_tab_deleted_is_reported_as_gone(
    visit: Visit, complaints: list[str], control: str
) -> None:
    page = visit()
    fill(page, "Two", "One")
    if control == "editor":
        link(page, "One").click()
        page.locator(".editor").get_by_label("Task").fill("Much typed")
    other = page.context.new_page()
    other.goto("/")
    other.get_by_role("button", name="Delete: One").click()
    expect(names(other)).to_have_text(["Two"])

    if control == "editor":
        page.locator(".editor").get_by_role("button", name="Save").click()
    else:
        page.locator(f".{control}").first.click()
    said(page, "That task is gone")
    expect(link(page, "Two")).to_be_visible()
    if control == "editor":
        expect(page.locator(".editor").get_by_label("Task")).to_have_value("Much typed")
        page.keyboard.press("Escape")
    expect(names(page)).to_have_text(["Two"])
    assert [complaint.split()[0] for complaint in complaints] == ["404"]
    complaints.clear()


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no scripts"])
def test_an_outdated_form_is_reported(visit: Visit, complaints: list[str], scripts: bool) -> None:
    page = visit(java_script_enabled=scripts)
    page.context.clear_cookies(name="csrftoken")
    page.context.add_cookies([{"name": "csrftoken", "value": "x" * 32, "url": page.url}])
    page.locator("#add").get_by_label("Task").fill("Much typed")
    page.locator("#add").get_by_role("button", name="Add").click()
    if scripts:
        said(page, "You have logged in or out in another tab")
        expect(page.locator("#add").get_by_label("Task")).to_have_value("Much typed")
    else:
        expect(page.get_by_label("What you typed")).to_have_value("Much typed")
        page.get_by_role("link", name="Back to the tasks").click()
    assert [complaint.split()[0] for complaint in complaints] == ["403"]
    complaints.clear()
    add(page, "Much typed")
    expect(names(page)).to_have_text(["Much typed"])
