"""A real Chromium and the real server."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Generator, Iterator
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import Browser, Error, Page, expect, sync_playwright

from tests.serving import ROOT, Serving

if TYPE_CHECKING:
    from playwright.sync_api import ConsoleMessage, Request, Response

Visit = Callable[..., Page]

SCREENSHOTS = ROOT / "test-results"
PATIENCE = 60_000
"""Milliseconds that a page may take on a machine that is busy with tests."""

expect.set_options(timeout=PATIENCE)


@pytest.fixture(scope="package")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    serving = Serving(tmp_path_factory.mktemp("browser"))
    serving.page("/")
    yield serving
    serving.kill()


@pytest.fixture(scope="package")
def chromium() -> Iterator[Browser]:
    found = shutil.which("chromium-headless-shell")
    assert found, "the browser tests need Chromium: apt-get install chromium-headless-shell"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=found, args=["--no-sandbox"], timeout=PATIENCE
        )
        yield browser
        browser.close()


@pytest.fixture
def complaints() -> list[str]:
    """The errors that the browser reported, and the refused requests. A test that provokes some
    removes them."""
    return []


@pytest.fixture
def visit(
    chromium: Browser, server: Serving, complaints: list[str], request: pytest.FixtureRequest
) -> Iterator[Visit]:
    """Open the task list in a new browser with its own cookies, storage and settings.

    Complaints that are left at the end fail the test.
    """
    contexts = []

    def check(response: Response) -> None:
        # 422 is the answer to a form with an error in it.
        if response.status >= 400 and response.status != 422:
            complaints.append(f"{response.status} {response.url}")

    def fail(request: Request) -> None:
        # A download ends the navigation that started it.
        if request.failure != "net::ERR_ABORTED":
            complaints.append(f"{request.failure} {request.url}")

    def hear(message: ConsoleMessage) -> None:
        if "Content Security Policy" in message.text:
            complaints.append(message.text)

    def open_page(**settings: Any) -> Page:
        context = chromium.new_context(base_url=server.address, **settings)
        context.set_default_timeout(PATIENCE)
        contexts.append(context)
        context.on("response", check)
        context.on("requestfailed", fail)
        context.on("console", hear)
        context.on("weberror", lambda error: complaints.append(str(error.error)))
        page = context.new_page()
        page.goto("/")
        return page

    yield open_page
    pictures = photograph(chromium, request.node) if complaints else ""
    for context in contexts:
        context.close()
    if complaints:
        pytest.fail("\n".join([*complaints, pictures]), pytrace=False)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    browser = getattr(item, "funcargs", {}).get("chromium")
    if report.failed and report.when == "call" and browser:
        report.sections.append(("Screenshots", photograph(browser, item)))
    return report


def photograph(browser: Browser, test: pytest.Item) -> str:
    """Take a screenshot of every open page. Return their paths, one a line."""
    found: list[str] = []
    for context in browser.contexts:
        for page in context.pages:
            name = re.sub(r"[^\w-]+", "-", test.nodeid.rpartition("/")[2]).strip("-")
            path = SCREENSHOTS / f"{name}-{len(found) + 1}.png"
            try:
                page.screenshot(path=path)
                found.append(str(path.relative_to(ROOT)))
            except Error as error:  # a page may hang, which must not hide the failure
                found.append(f"no picture of {page.url}: {error.message}")
    return "\n".join(found)
