"""The staff pages and the toolbar's panel in a browser, with the strict policy."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import PATIENCE
from tests.browser.test_lists import add, sign
from tests.browser.test_security import violations
from tests.browser.test_usability import check
from tests.serving import Serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, Page

    from tests.browser.conftest import Visit

LUMINANCE = """
() => {
    const [r, g, b] = getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}"""


@pytest.mark.parametrize(
    ("scheme", "width"),
    [
        ("light", 1280),
        ("dark", 390),
        pytest.param("dark", 1280, marks=pytest.mark.slow),
        pytest.param("light", 390, marks=pytest.mark.slow),
    ],
)
def test_staff_open_the_regions_page_and_invalidate_one(
    visit: Visit, server: Serving, scheme: str, width: int
) -> None:
    # The policy, which the rest of these tests hold, would stop the checker of accessibility.
    page = visit(
        color_scheme=scheme, viewport={"width": width, "height": 800}, bypass_csp=scheme == "light"
    )
    heard = violations(page)
    user = f"staff-{uuid4().hex[:8]}"
    sign(page, up=True, user=user)
    server.manage(
        "shell",
        "-c",
        "from django.contrib.auth.models import User;"
        f"User.objects.filter(username={user!r}).update(is_staff=True, is_superuser=True)",
    )
    page.goto("/")
    add(page, "Buy milk")
    page.goto("/admin/")
    page.get_by_role("link", name="Regions").first.click()
    expect(page.get_by_role("heading", name="functions", exact=True)).to_be_visible()
    page.wait_for_load_state()  # with its styles
    is_dark: Any = page.evaluate(LUMINANCE)
    assert (is_dark < 100) is (scheme == "dark")
    assert page.evaluate("() => document.documentElement.scrollWidth") <= width
    if scheme == "light":
        check(page, "the staff page")
    page.get_by_role("link", name="tasks.lists.queries.page_of").first.click()
    expect(page.get_by_role("heading", name="What if it expired sooner or later?")).to_be_visible()
    page.wait_for_load_state()
    assert page.evaluate("() => document.documentElement.scrollWidth") <= width
    if scheme == "light":
        check(page, "the page of a function")
    page.get_by_role("link", name="Invalidate…").click()
    page.get_by_role("button", name="Yes, invalidate").click()
    expect(page.get_by_text("Invalidated: tasks.lists.queries.page_of")).to_be_visible()
    row = page.get_by_role("row", name=re.compile("all calls of tasks.lists.queries.page_of"))
    expect(row.first).to_be_visible()
    assert heard == []


@pytest.fixture
def toolbar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Serving]:
    """A server that shows django-debug-toolbar."""
    monkeypatch.setenv("DEBUG", "1")
    monkeypatch.setenv("DEBUG_TOOLBAR", "1")
    # The toolbar detects a test run, and refuses.
    monkeypatch.delenv("PYTEST_VERSION")
    serving = Serving(tmp_path)
    serving.page("/")
    yield serving
    serving.kill()


def test_the_toolbars_panel_lists_the_pages_calls(toolbar: Serving, chromium: Browser) -> None:
    page: Page = chromium.new_page(base_url=toolbar.address)
    page.set_default_timeout(PATIENCE)
    heard = violations(page)
    page.on("pageerror", lambda error: heard.append(str(error)))
    answer = page.goto("/files/")
    assert answer is not None
    assert re.search(r'regions;dur=[\d.]+;desc="0 hits, \d misses', answer.headers["server-timing"])
    page.goto("/files/")
    page.locator("#djdt-RegionsPanel a").click()
    panel = page.locator("#RegionsPanel")
    expect(panel).to_contain_text("1 hit, 0 misses")
    row = panel.get_by_role("row", name=re.compile("tasks.files.folders.folder_page"))
    expect(row).to_contain_text("hit")
    assert heard == []
    page.close()
