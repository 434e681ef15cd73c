"""Take the pictures of the documents that show pages for the staff, with a little traffic before.

Run it as ``python -m scripts.pictures [FOLDER]``; the folder is ``docs`` if none is given. It needs
memcached and Chromium. One of the two memcached servers is stopped for the last picture.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from tests.servers import Memcached
from tests.serving import ROOT, Serving

TASKS = ("Buy milk", "Water the plants", "Call the bank", "Renew the passport")
FUNCTION = "/regions/function/?region=functions&name=tasks.lists.queries.page_of"


def visit(page: Page, serving: Serving) -> None:
    """Use the list and the files as a visitor does, and become one of the staff."""
    page.goto("/accounts/signup/")
    page.get_by_label("Username").fill("ada")
    for field in page.locator("input[type=password]").all():
        field.fill("a long enough password")
    page.locator("main button, main input[type=submit]").first.click()
    page.wait_for_load_state()
    for name in TASKS:
        page.goto("/")
        page.locator("#add [name=name]").fill(name)
        page.keyboard.press("Enter")
        page.locator("#list").get_by_text(name).wait_for()
        for path in ("/", "/?show=open", "/files/", "/") * 5:
            page.request.get(path)
    for _ in range(120):
        page.request.get("/?q=milk")  # of a search only the result is stored, not the page
    serving.manage(
        "shell",
        "-c",
        "from django.contrib.auth.models import User;"
        "User.objects.update(is_staff=True, is_superuser=True)",
    )


def main(folder: Path) -> None:
    servers = [Memcached(), Memcached()]
    for server in servers:
        server.start()
    os.environ["MEMCACHED_SERVERS"] = ",".join(server.address for server in servers)
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "settings.development")
    with tempfile.TemporaryDirectory() as data, sync_playwright() as playwright:
        serving = Serving(Path(data))
        try:
            serving.page("/")
            serving.manage("import_data", str(ROOT / "docs"))
            browser = playwright.chromium.launch(
                executable_path=shutil.which("chromium-headless-shell"), args=["--no-sandbox"]
            )
            context = browser.new_context(
                base_url=serving.address, viewport={"width": 1280, "height": 900}
            )
            page = context.new_page()
            visit(page, serving)
            take(page, folder, "/regions/", "staff-light")
            page.emulate_media(color_scheme="dark")
            take(page, folder, FUNCTION, "staff-dark")
            page.emulate_media(color_scheme="light")
            page.goto("/")
            page.goto("/")
            page.locator(".page-origin summary").click()
            take(page, folder, "", "foot-line")
            take(page, folder, "/how-this-works/?load=1", "how-this-works")
            servers[0].kill()
            take(page, folder, "/regions/", "staff-wrong")
            page.set_viewport_size({"width": 390, "height": 844})
            page.emulate_media(color_scheme="dark")
            take(page, folder, "/regions/", "staff-phone")
            take(page, folder, "/how-this-works/", "how-this-works-phone")
            browser.close()
        finally:
            serving.kill()
            servers[1].kill()


def take(page: Page, folder: Path, path: str, name: str) -> None:
    """Take a picture of a whole page; without a path, of the page as it is."""
    if path:
        page.goto(path)
    page.screenshot(path=folder / f"{name}.png", full_page=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs")
