"""A real Chromium before the real server."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.serving import Serving

if TYPE_CHECKING:
    from playwright.sync_api import Request, Response

Visit = Callable[..., Page]


@pytest.fixture(scope="package")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    serving = Serving(tmp_path_factory.mktemp("browser"))
    serving.page("/")
    yield serving
    serving.kill()


@pytest.fixture(scope="package")
def chromium() -> Iterator[Browser]:
    found = shutil.which("chromium")
    assert found, "the browser tests need Chromium: apt-get install chromium"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def visit(chromium: Browser, server: Serving) -> Iterator[Visit]:
    """Open the task list in a browser of its own: its cookies, its storage, its settings.

    Whatever the browser complains of, or the server refuses, fails the test.
    """
    contexts = []
    complaints: list[str] = []

    def check(response: Response) -> None:
        # 422 is the answer to a form with an error in it.
        if response.status >= 400 and response.status != 422:
            complaints.append(f"{response.status} {response.url}")

    def fail(request: Request) -> None:
        # A download ends the navigation that began it.
        if request.failure != "net::ERR_ABORTED":
            complaints.append(f"{request.failure} {request.url}")

    def open_page(**settings: Any) -> Page:
        context = chromium.new_context(base_url=server.address, **settings)
        context.set_default_timeout(10_000)
        contexts.append(context)
        page = context.new_page()
        page.on("response", check)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("requestfailed", fail)
        page.goto("/")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not complaints
