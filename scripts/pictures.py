"""Take the pictures of the documents, with a little traffic before those for the staff.

Run it as ``python -m scripts.pictures [FOLDER]``; the folder is ``docs`` if none is given. It needs
memcached, Chromium, django-debug-toolbar and the icons of Adwaita (adwaita-icon-theme).
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright

from tests.servers import Memcached
from tests.serving import ROOT, Serving

FILES = "/usr/share/icons/Adwaita"
FUNCTION = "/regions/function/?region=functions&name=tasks.lists.queries.page_of"
NOW = datetime.now(UTC)
TOMORROW = f"{NOW + timedelta(1):%Y-%m-%d}"
LAST_WEEK = f"{NOW - timedelta(8):%Y-%m-%d}"


def opened(browser: Browser, serving: Serving, width: int, height: int, **settings: Any) -> Page:
    """Open the list in a new browser, whose animations are off."""
    page = browser.new_page(
        base_url=serving.address,
        viewport={"width": width, "height": height},
        reduced_motion="reduce",
        **settings,
    )
    page.goto("/")
    return page


def add(page: Page, name: str, due: str = "") -> None:
    form = page.locator("#add")
    form.locator("[name=name]").fill(name)
    if due:
        form.locator("summary").click()
        form.locator("[name=due]").fill(due)
    form.locator(".button").last.click()
    page.locator("#list").get_by_role("link", name=name).wait_for()


def use(page: Page) -> None:
    """Make a list as the pictures show it."""
    add(page, "File the taxes", LAST_WEEK)
    add(page, "Water the plants")
    add(page, "Buy milk")
    add(page, "Read https://memcached.org/blog")
    add(page, "Call Zoë", TOMORROW)
    page.get_by_role("button", name="Mark as done: File the taxes").click()
    page.locator("#fold summary").click()
    page.get_by_role("button", name="Delete: Water the plants").click()
    page.get_by_text("Deleted “Water").wait_for()


def visit(page: Page, serving: Serving) -> None:
    """Use the list and the files as a visitor does, and become one of the staff."""
    page.goto("/accounts/signup/")
    page.get_by_label("Username").fill("ada")
    for field in page.locator("input[type=password]").all():
        field.fill("a long enough password")
    page.locator("main button, main input[type=submit]").first.click()
    page.get_by_role("button", name="Log out").wait_for()
    use(page)
    for path in ("/", "/?show=open", "/files/", "/") * 20:
        page.request.get(path)
    for _ in range(120):
        page.request.get("/?q=milk")  # of a search only the result is stored, not the page
    serving.manage(
        "shell",
        "-c",
        "from django.contrib.auth.models import User;"
        "User.objects.update(is_staff=True, is_superuser=True)",
    )


def take(page: Page, folder: Path, path: str, name: str, *, whole: bool = True) -> None:
    """Take a picture of a page; without a path, of the page as it is."""
    if path:
        page.goto(path)
    page.mouse.move(0, 0)
    page.screenshot(path=folder / f"{name}.png", full_page=whole)


def take_all(browser: Browser, serving: Serving, folder: Path) -> None:
    desktop = opened(browser, serving, 900, 620)
    use(desktop)
    take(desktop, folder, "", "list-desktop", whole=False)
    phone = opened(browser, serving, 390, 700, color_scheme="dark", is_mobile=True, has_touch=True)
    use(phone)
    phone.reload()
    phone.locator("#fold summary").click()
    take(phone, folder, "", "list-phone", whole=False)

    page = opened(browser, serving, 1280, 800)
    take(page, folder, "/files/", "files-desktop", whole=False)
    visit(page, serving)
    take(page, folder, "/regions/", "staff-light")
    page.emulate_media(color_scheme="dark")
    take(page, folder, FUNCTION, "staff-dark")
    page.emulate_media(color_scheme="light")
    page.goto("/")
    page.reload()
    page.locator(".page-origin summary").click()
    take(page, folder, "", "foot-line")
    take(page, folder, "/how-this-works/?load=1", "how-this-works")


def take_toolbar(browser: Browser, serving: Serving, folder: Path) -> None:
    page = opened(browser, serving, 1280, 640)
    add(page, "Buy milk")
    page.goto("/?show=open")
    page.locator("#djdt-RegionsPanel a").click()
    take(page, folder, "", "toolbar", whole=False)


def main(folder: Path) -> None:
    server = Memcached()
    server.start()
    os.environ["MEMCACHED_SERVERS"] = server.address
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "settings.development")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium-headless-shell"), args=["--no-sandbox"]
        )
        for take_some, debug in ((take_all, ""), (take_toolbar, "1")):
            os.environ.update(DEBUG=debug, DEBUG_TOOLBAR=debug)
            with tempfile.TemporaryDirectory() as data:
                serving = Serving(Path(data))
                try:
                    serving.page("/")
                    serving.manage("import_data", FILES)
                    take_some(browser, serving, folder)
                finally:
                    serving.kill()
        browser.close()
    server.stop()


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs")
