"""The task list, as people use it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from playwright.sync_api import expect

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

    from tests.browser.conftest import Visit

PHONE: dict[str, Any] = {"viewport": {"width": 390, "height": 844}, "has_touch": True}
DESKTOP: dict[str, Any] = {"viewport": {"width": 1280, "height": 900}}
PASSWORD = "Zx81-spectrum!"


def add(page: Page, *names: str) -> None:
    for name in names:
        page.get_by_role("textbox", name="Task").fill(name)
        page.get_by_role("button", name="Add", exact=True).click()
        expect(page.get_by_role("status")).to_contain_text("Added")


def names(page: Page) -> Locator:
    return page.locator(".tasks .name")


def sign(page: Page, *, up: bool, user: str) -> None:
    page.get_by_role("link", name="Sign up" if up else "Log in", exact=True).first.click()
    page.get_by_label("Username").fill(user)
    page.get_by_label("Password", exact=False).first.fill(PASSWORD)
    if up:
        page.get_by_label("Password confirmation").fill(PASSWORD)
    page.get_by_role("main").get_by_role("button", name="Sign up" if up else "Log in").click()
    expect(page.get_by_role("button", name="Log out")).to_be_visible()


@pytest.mark.parametrize("screen", [DESKTOP, PHONE], ids=["desktop", "phone"])
@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no scripts"])
def test_add_finish_rename_delete(visit: Visit, screen: dict[str, Any], scripts: bool) -> None:
    page = visit(java_script_enabled=scripts, **screen)
    expect(page.get_by_text("Nothing to do yet")).to_be_visible()
    add(page, "Buy <b>milk</b>", "Water the plants 🌱", "Call Zoë")
    expect(names(page)).to_have_text(["Call Zoë", "Water the plants 🌱", "Buy <b>milk</b>"])

    page.get_by_role("button", name="Mark as done: Buy <b>milk</b>").click()
    page.get_by_role("navigation", name="Show").get_by_role("link", name="Done").click()
    expect(names(page)).to_have_text(["Buy <b>milk</b> (done)"])
    page.get_by_role("navigation", name="Show").get_by_role("link", name="Open").click()
    expect(names(page)).to_have_text(["Call Zoë", "Water the plants 🌱"])

    page.get_by_role("link", name="Rename: Call Zoë").click()
    page.get_by_role("textbox", name="Task").fill("Write to Zoë")
    page.get_by_role("button", name="Save").click()
    expect(names(page)).to_have_text(["Write to Zoë", "Water the plants 🌱"])

    page.get_by_role("button", name="Delete: Write to Zoë").click()
    expect(names(page)).to_have_text(["Water the plants 🌱"])
    page.get_by_text("Clear done").click()
    page.get_by_role("button", name="Delete 1 done task").click()
    page.get_by_role("navigation", name="Show").get_by_role("link", name="All").click()
    expect(names(page)).to_have_text(["Water the plants 🌱"])


def test_the_keyboard_is_enough(visit: Visit) -> None:
    page = visit(**DESKTOP)

    def tab_to(name: str) -> None:
        for _ in range(40):
            page.keyboard.press("Tab")
            focused = page.locator(":focus")
            if name in (focused.get_attribute("aria-label") or focused.text_content() or ""):
                return
        pytest.fail(f"no way to {name!r} by keyboard")

    page.keyboard.press("Tab")
    expect(page.locator(":focus")).to_have_text("Skip to the content")
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.keyboard.type("By hand")
    page.keyboard.press("Enter")
    expect(names(page)).to_have_text(["By hand"])
    tab_to("Mark as done: By hand")
    page.keyboard.press("Enter")
    expect(names(page)).to_have_text(["By hand (done)"])
    tab_to("Delete: By hand")
    page.keyboard.press("Enter")
    expect(page.get_by_text("Nothing to do yet")).to_be_visible()


def test_an_error_stands_beside_the_field_and_nothing_typed_is_lost(visit: Visit) -> None:
    page = visit()
    page.get_by_role("textbox", name="Task").fill("x" * 256)
    page.keyboard.press("Enter")
    expect(page.get_by_text("A name has at most 255 characters")).to_be_visible()
    field = page.get_by_role("textbox", name="Task")
    expect(field).to_have_value("x" * 256)
    expect(field).to_have_attribute("aria-invalid", "true")


def test_signing_up_keeps_the_list_and_other_browsers_see_its_changes(visit: Visit) -> None:
    user = uuid4().hex
    one, other = visit(**DESKTOP), visit(**PHONE)
    add(one, "Before there was an account")
    sign(one, up=True, user=user)
    expect(names(one)).to_have_text(["Before there was an account"])

    add(other, "On the phone")
    sign(other, up=False, user=user)
    expect(names(other)).to_have_text(["On the phone", "Before there was an account"])
    add(other, "Later")
    one.reload()
    expect(names(one)).to_have_text(["Later", "On the phone", "Before there was an account"])
    one.get_by_role("button", name="Delete: On the phone").click()
    other.reload()
    expect(names(other)).to_have_text(["Later", "Before there was an account"])

    stranger = visit()
    expect(stranger.get_by_text("Nothing to do yet")).to_be_visible()
    one.get_by_role("button", name="Log out").click()
    expect(one.get_by_text("Nothing to do yet")).to_be_visible()


def test_long_lists_have_pages(visit: Visit) -> None:
    page = visit()
    add(page, *(f"Task {number}" for number in range(51)))
    expect(names(page)).to_have_count(50)
    page.get_by_role("link", name="Older").click()
    expect(names(page)).to_have_text(["Task 0"])
    page.get_by_role("link", name="Newer").click()
    expect(names(page).first).to_have_text("Task 50")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_wider_than_a_phone(visit: Visit, scheme: str) -> None:
    page = visit(color_scheme=scheme, **PHONE)
    add(page, "W" * 255, "Ordinary")
    page.get_by_role("button", name="Mark as done: Ordinary").click()
    for address in ("/", "/files/", "/accounts/login/", "/accounts/signup/"):
        page.goto(address)
        width = page.evaluate("document.documentElement.scrollWidth")
        assert width == 390, f"{address} is {width} pixels wide"
