"""One list in several browsers and tabs, several lists in one browser, and Back and Forward."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import uuid4

import pytest
from playwright.sync_api import expect

from tests.browser.test_lists import (
    DESKTOP,
    PHONE,
    add,
    fill,
    names,
    said,
    show,
    sign,
    with_and_without_scripts,
)

if TYPE_CHECKING:
    from tests.browser.conftest import Visit


@pytest.fixture
def user() -> str:
    return uuid4().hex


@with_and_without_scripts
def test_signing_up_keeps_the_list_and_other_browsers_see_its_changes(
    visit: Visit, user: str, scripts: bool
) -> None:
    one = visit(java_script_enabled=scripts, **DESKTOP)
    other = visit(java_script_enabled=scripts, **PHONE)
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
    said(one, "Deleted")
    other.reload()
    expect(names(other)).to_have_text(["Later", "Before there was an account"])
    one.get_by_role("button", name="Undo").click()
    expect(names(one)).to_have_count(3)
    other.reload()
    expect(names(other)).to_have_count(3)


def test_a_tab_shows_the_changes_of_another_tab_when_it_is_shown_again(visit: Visit) -> None:
    page = visit()
    add(page, "One")
    page.locator("#add").get_by_label("Task").fill("Half typed")
    other = page.context.new_page()
    other.goto("/")
    add(other, "Two")
    other.get_by_role("button", name="Mark as done: One").click()
    said(other, "is done")
    # All tabs of a headless browser are visible, so send the event. Send it more than once: a list
    # that was just fetched is not fetched again.
    page.wait_for_function(
        """() => {
            dispatchEvent(new Event("focus"));
            return document.querySelectorAll(".tasks .name").length === 2;
        }""",
        polling=250,
    )
    expect(names(page)).to_have_text(["Two", "One (done)"])
    expect(page.locator("#add").get_by_label("Task")).to_have_value("Half typed")


@with_and_without_scripts
def test_an_account_sees_no_tasks_of_another(
    visit: Visit, user: str, complaints: list[str], scripts: bool
) -> None:
    one = visit(java_script_enabled=scripts)
    add(one, "Mine alone")
    sign(one, up=True, user=user)
    edit = one.get_by_role("link", name="Edit: Mine alone").get_attribute("href")
    assert edit is not None

    other = visit(java_script_enabled=scripts)
    sign(other, up=True, user=f"other-{user}")
    expect(other.get_by_text("Nothing to do yet")).to_be_visible()
    other.goto("/?q=mine")
    expect(names(other)).to_have_count(0)
    other.goto(edit)
    expect(other.get_by_role("main")).not_to_contain_text("Mine")
    assert [complaint.split()[0] for complaint in complaints] == ["404"]
    complaints.clear()

    # In the same browser, too: not by logging out, not by going back.
    one.get_by_role("button", name="Log out").click()
    expect(one.get_by_text("Nothing to do yet")).to_be_visible()
    one.go_back()
    expect(one.get_by_role("link", name="Log in")).to_be_visible()
    expect(names(one)).to_have_count(0)
    sign(one, up=False, user=f"other-{user}")
    expect(one.get_by_text("Nothing to do yet")).to_be_visible()


@with_and_without_scripts
def test_back_and_forward_show_the_present_list(visit: Visit, scripts: bool) -> None:
    page = visit(java_script_enabled=scripts)
    fill(page, "Three", "Two", "One")
    page.get_by_role("link", name="Files").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Files")
    # Another browser, because all windows of one browser would show the new page.
    other = visit(storage_state=page.context.storage_state())
    other.get_by_role("button", name="Delete: Two").click()
    said(other, "Deleted")
    page.go_back()
    expect(names(page)).to_have_text(["One", "Three"])

    page.get_by_role("button", name="Mark as done: Three").click()
    said(page, "is done")
    show(page, "Open")
    expect(names(page)).to_have_text(["One"])
    show(page, "Done")
    expect(names(page)).to_have_text(["Three (done)"])
    page.get_by_role("button", name="Delete: Three").click()
    said(page, "Deleted")
    page.go_back()
    if not scripts:  # without scripts, each change is a history entry
        page.go_back()
    expect(page).to_have_url("/?show=open")
    expect(names(page)).to_have_text(["One"])
    page.go_forward()
    expect(page.get_by_text("Nothing done yet")).to_be_visible()
