"""The line at the foot of a page, and the page "How this works": what a visitor sees of caching."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from playwright.sync_api import expect

from tests.browser.test_lists import PHONE, add, fill, one_document, said
from tests.browser.test_security import violations

if TYPE_CHECKING:
    from tests.browser.conftest import Visit

CACHED = re.compile(r"^From the cache: stored \d+ s ago; [\d.]+ (µs|ms) instead of [\d.]+ (µs|ms)$")
LOADED = re.compile(r"^Loaded now, in [\d.]+ (µs|ms)$")


def test_the_line_at_the_foot_says_where_the_page_came_from(visit: Visit) -> None:
    page = visit(**PHONE)
    heard = violations(page)
    fill(page, "One")
    page.reload()
    line = page.locator(".page-origin")
    expect(line.locator("summary")).to_have_text(CACHED)
    line.locator("summary").click()
    expect(line).to_contain_text("tasks.views.tasks.index")
    expect(line).to_contain_text(re.compile(r"Tagslist:\d+"))
    expect(line).to_contain_text("tasks.lists.queries.page_of: ")
    with one_document(page, True):
        add(page, "Two")
        expect(line.locator("summary")).to_have_text(LOADED)
        expect(line).to_have_attribute("open", "")
    assert heard == []


def test_how_this_works_shows_and_changes_what_is_stored_of_this_list(visit: Visit) -> None:
    other = visit(**PHONE)
    add(other, "Not to be seen")
    page = visit(**PHONE)
    heard = violations(page)
    add(page, "Mine")
    page.get_by_role("link", name="How this works").click()
    row = page.get_by_role("row", name="Tasks and counts, All")
    expect(row).to_contain_text("s ago")
    expect(page.locator("#live")).to_contain_text("by a change of tasks: the tag list:")
    own = page.locator("#live h2 ~ p code").inner_text()

    # It follows what other pages of this browser do, without a reload.
    with one_document(page, True):
        tab = page.context.new_page()
        tab.goto("/?show=open")
        expect(page.get_by_role("row", name="Tasks and counts, Open")).to_contain_text("s ago")
        tab.close()
        page.get_by_role("button", name="Pause").click()
        expect(page.get_by_role("button", name="Go on")).to_be_visible()

    page.get_by_role("link", name="Load without the cache").click()
    expect(page.locator("#timed")).to_have_text(
        re.compile(r"[\d.]+ (µs|ms) from the cache, [\d.]+ (µs|ms) without it")
    )
    page.get_by_role("button", name="Invalidate").click()
    said(page, "Everything stored of your list was invalidated.")
    expect(row).to_contain_text("not stored: the next call loads")
    expect(page.locator("#live")).not_to_contain_text("by a change of tasks")

    page.get_by_role("button", name="Keep nothing for me").click()
    page.goto("/")
    page.reload()
    expect(page.locator(".page-origin summary")).to_have_text(LOADED)
    page.get_by_role("link", name="How this works").click()
    expect(row).to_contain_text("not stored: the next call loads")
    page.get_by_role("button", name="Use the cache again").click()
    page.goto("/")
    page.reload()
    expect(page.locator(".page-origin summary")).to_have_text(CACHED)

    answer = other.goto("/how-this-works/")
    assert answer is not None
    assert "no-store" in answer.headers["cache-control"]
    assert own not in answer.text()
    assert own.startswith("list:")
    assert heard == []
