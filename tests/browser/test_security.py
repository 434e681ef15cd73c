"""The strict Content-Security-Policy in a browser: it breaks no page, and stops foreign scripts."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from uuid import uuid4

from playwright.sync_api import expect

from tests.browser.conftest import PATIENCE
from tests.browser.test_lists import add, names, sign

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from playwright.sync_api import Browser, Page

    from tests.browser.conftest import Visit
    from tests.serving import Serving

HEARD = """
addEventListener("securitypolicyviolation", event =>
    console.error(`refused: ${event.effectiveDirective} ${event.blockedURI} ${event.sourceFile}`));
"""


def violations(page: Page) -> list[str]:
    """Return a list. Everything that the policy refuses on this page and later ones is added to
    it."""
    heard: list[str] = []
    page.add_init_script(HEARD)
    page.on(
        "console",
        lambda message: heard.append(message.text) if message.text.startswith("refused") else None,
    )
    return heard


def reported(page: Page, directive: str) -> AbstractContextManager[object]:
    """Wait, at the end of this block, until the policy has refused something by a directive."""
    return page.expect_console_message(lambda message: f"refused: {directive} " in message.text)


def test_the_staff_pages_work_with_the_content_security_policy(
    visit: Visit, server: Serving
) -> None:
    page = visit()
    heard = violations(page)
    mark = uuid4().hex[:8]
    sign(page, up=True, user=f"staff-{mark}")
    server.manage(
        "shell",
        "-c",
        "from django.contrib.auth.models import User;"
        f"User.objects.filter(username='staff-{mark}').update(is_staff=True, is_superuser=True)",
    )
    page.goto("/")
    add(page, f"Buy milk {mark}", f"Call Zoë {mark}")
    page.goto(f"/admin/tasks/task/?q={mark}")
    page.get_by_role("button", name="Toggle theme").first.click()
    page.locator("#action-toggle").check()  # set by a script
    expect(page.get_by_text(re.compile(r"^\s*2 of 2 selected"))).to_be_visible()
    page.get_by_role("link", name=f"Buy milk {mark}").click()
    page.get_by_label("Name:").fill("Buy oat milk")
    page.get_by_role("button", name="Save", exact=True).click()
    page.goto("/admin/auth/user/")
    page.get_by_role("link", name=f"staff-{mark}", exact=True).click()
    page.get_by_role("link", name="Today").first.click()  # made by a script
    page.get_by_role("link", name="Choose a Date").first.click()
    expect(page.locator("#calendarbox0")).to_be_visible()
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_text("was changed successfully")).to_be_visible()
    page.goto("/admin/tasks/tasklist/")
    page.goto("/")
    expect(names(page)).to_have_text([f"Call Zoë {mark}", "Buy oat milk"])
    assert heard == []


def test_only_the_sites_own_scripts_and_styles_run(chromium: Browser, server: Serving) -> None:
    # Not `visit`: it fails on any complaint of the browser.
    page = chromium.new_page(base_url=server.address)
    page.set_default_timeout(PATIENCE)
    heard = violations(page)
    for path in ("/", "/files/", "/accounts/login/", "/accounts/signup/"):
        page.goto(path)
        expect(page.get_by_role("navigation", name="Main")).to_be_visible()
        assert heard == []
        with reported(page, "script-src-elem"), reported(page, "style-src-attr"):
            page.evaluate(
                """() => document.body.insertAdjacentHTML("beforeend", `
                    <img src="data:," onerror="window.ran = true">
                    <p id="probe" style="position: fixed">
                    <iframe srcdoc="<script>parent.ran = true</script>"></iframe>`)"""
            )
            page.evaluate(
                """() => document.body.append(Object.assign(
                    document.createElement("script"), {textContent: "window.ran = true"}))"""
            )
        expect(page.locator("#probe")).to_have_css("position", "static")
        assert page.evaluate("() => window.ran") is None
        page.goto("about:blank")  # which reports nothing
        heard.clear()
    page.close()
