"""Names, contrast and a stable layout: the pages are usable for all people, on any screen."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import expect

from tests.browser.test_lists import (
    DESKTOP,
    PHONE,
    add,
    fill,
    names,
    said,
    with_scripts_and_slowly_without,
)
from tests.serving import Serving

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Page

    from tests.browser.conftest import Visit

AXE = Path(__file__).parent / "vendor/axe-core/axe.min.js"
"""Deque's checker of the Web Content Accessibility Guidelines."""

RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]

CHECK = """async (runOnly) => {
    await Promise.all(document.getAnimations().map(each => each.finished)); // to other colours
    const rules = { "heading-order": { enabled: true }, "region": { enabled: true } };
    const { violations } = await axe.run({ runOnly, rules });
    return violations.flatMap(({ id, nodes }) =>
        nodes.map(({ html, failureSummary }) => `${id}: ${html} ${failureSummary}`));
}"""

SHIFTS = """
window.shifts = [];
new PerformanceObserver(list => {
    for (const { value, hadRecentInput, sources } of list.getEntries()) {
        const moved = sources.map(({ node }) => node?.outerHTML?.slice(0, 60));
        if (!hadRecentInput) shifts.push({ value, moved });
    }
}).observe({ type: "layout-shift", buffered: true });
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """A separate server for these tests, with files."""
    source = tmp_path_factory.mktemp("source")
    (source / "poem.txt").write_text("Snow melts;\nthe village is full\n")
    (source / "people.csv").write_text("name;age\nAnn;1\nBob;2\n")
    (source / ("w" * 200 + ".bin")).write_bytes(b"\0")
    serving = Serving(tmp_path_factory.mktemp("usability"))
    serving.page("/")
    serving.manage("import_data", str(source))
    yield serving
    serving.kill()


def check(page: Page, where: str) -> None:
    """Check a page, light and dark, with the rules that a program can check."""
    page.add_script_tag(path=AXE)
    page.emulate_media(color_scheme="light")
    assert page.evaluate(CHECK, RULES) == [], f"{where}, light"
    page.emulate_media(color_scheme="dark")
    assert page.evaluate(CHECK, ["color-contrast"]) == [], f"{where}, dark"


@pytest.mark.parametrize(
    "screen",
    [pytest.param(DESKTOP, id="desktop"), pytest.param(PHONE, id="phone", marks=pytest.mark.slow)],
)
def test_every_page_passes_the_accessibility_rules(visit: Visit, screen: dict[str, Any]) -> None:
    # The site's policy would stop the checker, which is not the site's script.
    page = visit(bypass_csp=True, reduced_motion="reduce", **screen)
    check(page, "the empty list")
    add(page, "Late", due="2001-01-01")
    add(page, "Done", "Open")
    page.get_by_role("button", name="Mark as done: Done").click()
    said(page, "is done")
    check(page, "the list")
    page.locator("#add").get_by_label("Task").fill(" ")
    page.keyboard.press("Enter")
    expect(page.locator(".errorlist")).to_be_visible()
    page.get_by_role("link", name="Edit: Late").click()
    check(page, "the list with a form in it, and an error")
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Delete: Open").click()
    said(page, "Deleted")
    check(page, "the list with a message")
    address = page.get_by_role("link", name="Edit: Late").get_attribute("href")
    assert address is not None
    page.goto("/")
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_be_visible()
    check(page, "the help")
    for path in (
        address,
        "/accounts/login/",
        "/accounts/signup/",
        "/files/",
        "/files/?q=p",
        "/tasks/deleted/",
        "/account/",
        "/tasks/lines/",
        "/?show=due",
        "/how-this-works/?load=1",
    ):
        page.goto(path)
        check(page, path)
    page.goto("/account/")
    page.get_by_role("button", name="Make an address").click()
    page.get_by_role("main").get_by_role("link", name="/shared/").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("A shared list")
    check(page, "a shared list")
    page.goto("/accounts/login/")
    page.get_by_label("Username").fill("nobody")
    page.get_by_label("Password").fill("wrong")
    page.keyboard.press("Enter")
    expect(page.locator(".errorlist")).to_contain_text("correct username and password")
    check(page, "a log-in that was refused")
    page.goto("/files/")
    for name in ("poem.txt", "people.csv"):
        page.get_by_role("main").get_by_role("link", name=name).click()
        expect(page.get_by_role("heading", level=1)).to_contain_text(name)
        check(page, name)
        page.go_back()


@pytest.mark.parametrize(
    "screen",
    [pytest.param(DESKTOP, id="desktop", marks=pytest.mark.slow), pytest.param(PHONE, id="phone")],
)
def test_the_layout_does_not_shift(visit: Visit, screen: dict[str, Any]) -> None:
    page = visit(**screen)
    fill(page, "Three", "Two", "One")
    page.add_init_script(SHIFTS)
    page.reload()

    def press(selector: str, says: str) -> None:
        # By a script: movement right after a key press of the user does not count as a shift.
        page.evaluate("selector => document.querySelector(selector).click()", selector)
        said(page, says)

    before = [page.locator(part).bounding_box() for part in ("h1", "#add", ".tabs")]
    page.locator("#id_name").evaluate("field => { field.value = 'Four' }")
    press("#add .button", "Added")
    press(".check", "is done")
    press(".delete", "Deleted")
    press(".undo", "Brought back")
    expect(names(page)).to_have_count(4)
    assert [page.locator(part).bounding_box() for part in ("h1", "#add", ".tabs")] == before
    # The last shift is reported two frames later.
    page.evaluate("() => new Promise(end => requestAnimationFrame(() => setTimeout(end, 100)))")
    shifts = page.evaluate("() => shifts")
    assert sum(shift["value"] for shift in shifts) < 0.1, shifts


def test_the_list_takes_few_requests(visit: Visit) -> None:
    page = visit(**DESKTOP)
    loaded: list[str] = []
    page.on("request", lambda request: loaded.append(request.url))
    page.reload()
    expect(page.locator("#id_name")).to_be_focused()  # by a script
    assert len([each for each in loaded if each.endswith(".js")]) == 2, loaded
    assert len(loaded) <= 6, loaded


@with_scripts_and_slowly_without
def test_nothing_is_wider_than_a_phone(visit: Visit, scripts: bool) -> None:
    page = visit(java_script_enabled=scripts, **PHONE)
    width = "() => document.scrollingElement.scrollWidth"
    fill(page, "W" * 255, "ﷺ" * 255, "wide " * 51)
    add(page, "Ordinary", due="2030-12-31")
    page.get_by_role("button", name="Mark as done: Ordinary").click()
    said(page, "is done")
    assert page.evaluate(width) == 390
    page.get_by_role("link", name="Edit: WWW").click()
    expect(page.locator(".editor").get_by_label("Task")).to_have_value("W" * 255)
    assert page.evaluate(width) == 390
    page.get_by_role("link", name="Cancel").click()
    page.get_by_role("button", name="Delete: WWW").click()
    said(page, "Deleted")
    assert page.evaluate(width) == 390
    addresses = ["/accounts/login/", "/accounts/signup/", "/files/", f"/?q={'W' * 255}"]
    for address in addresses:
        page.goto(address)
        assert page.evaluate(width) == 390, address


@pytest.mark.parametrize(
    ("width", "text"),
    [pytest.param(320, 100, marks=pytest.mark.slow), (390, 200)],
    ids=["320 px", "200 % text"],
)
def test_small_screens_and_large_text_need_no_scrolling_sideways(
    visit: Visit, width: int, text: int
) -> None:
    page = visit(viewport={"width": width, "height": 700}, has_touch=True)
    fill(page, *(f"Task {number}" for number in range(51)))
    add(page, "W" * 100, due="2030-12-31")
    page.get_by_role("button", name="Mark as done: WWW").click()
    said(page, "is done")
    add(page, "Ordinary", due="2030-12-31")
    for address in ("/", "/?show=due", "/?show=done", "/files/", "/accounts/login/"):
        page.goto(address)
        page.evaluate("text => { document.documentElement.style.fontSize = `${text}%` }", text)
        if address == "/":
            page.locator(".name").first.click()
        beyond = page.evaluate(
            """() => [...document.querySelectorAll("body *")]
            .filter(each => each.checkVisibility() && !each.closest(".visually-hidden, .skip"))
            .filter(each => each.getBoundingClientRect().right > innerWidth + 1)
            .map(each => each.outerHTML.slice(0, 80))"""
        )
        assert beyond == [], address


def test_forced_colours_mark_what_is_current(visit: Visit) -> None:
    page = visit(forced_colors="active", **DESKTOP)
    add(page, "One")
    edge = "each => getComputedStyle(each).borderTopStyle + getComputedStyle(each).outlineStyle"
    current, other = (
        page.locator(f".tabs {each}").first for each in ("[aria-current]", "a:not([aria-current])")
    )
    assert current.evaluate(edge) != other.evaluate(edge)
    assert "solid" in page.locator(".message").evaluate(edge)
    assert page.request.get("/favicon.ico").ok
    assert page.get_by_role("search").count() == 1
