"""The imported files, in a browser."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

from playwright.sync_api import expect

if TYPE_CHECKING:
    from pathlib import Path

    from tests.browser.conftest import Visit
    from tests.serving import Serving

DOT = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
"""A picture of one pixel."""


def test_find_look_at_and_save_a_file(visit: Visit, server: Serving, tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "poems").mkdir(parents=True)
    (source / "poems" / "spring & <autumn>.txt").write_text("Snow melts;\nthe village is full.\n")
    (source / "dot.png").write_bytes(DOT)
    page = visit()
    page.get_by_role("link", name="Files").click()
    expect(page.get_by_text("No files have been imported yet.")).to_be_visible()

    assert "2 imported, 0 unchanged, 0 failed" in server.manage("import_data", str(source))
    page.reload()
    expect(page.get_by_role("row")).to_have_count(3)
    page.get_by_label("Path contains").fill("AUTUMN")
    page.get_by_role("button", name="Search").click()
    page.get_by_role("link", name="poems/spring & <autumn>.txt").click()
    expect(page.get_by_role("main").locator("pre")).to_have_text(
        "Snow melts; the village is full.", use_inner_text=True
    )
    with page.expect_download() as download:
        page.get_by_role("link", name="Download").click()
    assert download.value.suggested_filename == "spring & _autumn_.txt"
    assert download.value.path().read_text() == "Snow melts;\nthe village is full.\n"

    page.get_by_role("link", name="Files").first.click()
    page.get_by_role("link", name="dot.png").click()
    picture = page.get_by_role("img", name="dot.png")
    expect(picture).to_be_visible()
    assert picture.evaluate("image => image.naturalWidth") == 1
