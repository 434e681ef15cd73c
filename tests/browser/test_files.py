"""The imported files, in a browser."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import expect

from tests.browser.test_lists import DESKTOP, PHONE, add, names

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Page

    from tests.browser.conftest import Visit
    from tests.serving import Serving

FILES = {
    "poems/haiku/spring & <autumn>.txt": b"Snow melts;\nthe village is full\n\nSnow melts;\n",
    "poems/people.csv": b"age;name\n1;Ann\n2;Bob\n",
    "dot.png": base64.b64decode(
        "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
    ),
    "drawing.svg": b'<svg xmlns="http://www.w3.org/2000/svg" width="7" height="7"/>',
    "w" * 200 + ".bin": b"\0",
}


@pytest.fixture(scope="module")
def imported(server: Serving, tmp_path_factory: pytest.TempPathFactory) -> Path:
    source = tmp_path_factory.mktemp("source")
    for name, content in FILES.items():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes(content)
    assert f"{len(FILES)} imported" in server.manage("import_data", str(source))
    return source


def follow(page: Page, *links: str) -> None:
    for name in links:
        page.get_by_role("main").get_by_role("link", name=name, exact=True).first.click()
        expect(page.get_by_role("heading", level=1)).to_contain_text(name)


@pytest.mark.usefixtures("imported")
@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no scripts"])
def test_find_view_and_download_a_file(visit: Visit, scripts: bool) -> None:
    page = visit(java_script_enabled=scripts, **DESKTOP)
    page.get_by_role("link", name="Files").click()
    expect(page.get_by_role("row")).to_have_count(5)
    follow(page, "poems", "haiku", "spring & <autumn>.txt")
    expect(page.get_by_role("main").locator("pre")).to_contain_text("the village is full")
    with page.expect_download() as download:
        page.get_by_role("link", name="Download").click()
    assert download.value.suggested_filename == "spring & _autumn_.txt"
    assert download.value.path().read_bytes() == FILES["poems/haiku/spring & <autumn>.txt"]

    page.get_by_role("navigation", name="Folders").get_by_role("link", name="poems").click()
    follow(page, "people.csv")
    expect(page.get_by_role("columnheader")).to_have_text(["age", "name"])
    follow(page, "Files")
    page.get_by_label("Path contains").fill("AUTUMN")
    page.get_by_role("button", name="Search").click()
    expect(page.get_by_role("link", name="poems/haiku/spring & <autumn>.txt")).to_be_visible()
    page.get_by_role("link", name="Show folders").click()
    for name, width in (("dot.png", 1), ("drawing.svg", 7)):
        follow(page, name)
        picture = page.get_by_role("img", name=name)
        expect(picture).to_be_visible()
        if scripts:
            assert picture.evaluate("image => image.naturalWidth") == width
        follow(page, "Files")


@pytest.mark.usefixtures("imported")
@pytest.mark.parametrize("screen", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_attach_a_file_to_a_task_and_remove_it(visit: Visit, screen: dict[str, Any]) -> None:
    page = visit(**screen)
    add(page, "Read", "Write")
    page.goto("/files/?folder=poems/haiku")
    follow(page, "spring & <autumn>.txt")
    page.get_by_label("Attach to task").select_option("Read")
    page.get_by_role("button", name="Attach").click()
    expect(page.get_by_text("Attached to “Read”.")).to_be_visible()
    page.get_by_role("main").get_by_role("link", name="Read").click()
    expect(page.get_by_role("textbox", name="Task")).to_have_value("Read")
    page.get_by_role("button", name="Remove: poems/haiku/spring & <autumn>.txt").click()
    expect(page.get_by_text("the file itself is kept")).to_be_visible()
    expect(page.get_by_role("heading", name="Files")).to_have_count(0)


@pytest.mark.usefixtures("imported")
@pytest.mark.parametrize("screen", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_make_tasks_from_lines_and_from_a_column(visit: Visit, screen: dict[str, Any]) -> None:
    page = visit(**screen)
    page.goto("/files/?q=autumn")
    page.get_by_role("main").get_by_role("link", name="autumn").click()
    page.get_by_role("link", name="Make tasks from its lines").click()
    page.get_by_role("button", name="Add 2 tasks").click()
    expect(names(page)).to_have_text(["Snow melts;", "the village is full"])

    page.goto("/files/?folder=poems")
    follow(page, "people.csv")
    page.get_by_role("link", name="Make tasks from its lines").click()
    page.get_by_label("Names of tasks are in").select_option("name")
    page.get_by_role("button", name="Show").click()
    expect(page.get_by_role("main").get_by_role("listitem")).to_contain_text(["Ann", "Bob"])
    page.get_by_role("button", name="Add 2 tasks").click()
    expect(names(page)).to_have_text(["Ann", "Bob", "Snow melts;", "the village is full"])


@pytest.mark.usefixtures("imported")
def test_no_page_of_files_is_wider_than_a_phone(visit: Visit) -> None:
    page = visit(**PHONE)
    add(page, "W" * 255)
    page.goto("/files/")
    links = page.get_by_role("main").get_by_role("link").all()
    places = [link.get_attribute("href") or "" for link in links]
    places += ["/files/", "/files/?q=w", "/files/?folder=poems"]
    for place in places:
        page.goto(place)
        if page.get_by_role("button", name="Attach").count():
            page.get_by_role("button", name="Attach").click()
            page.goto(place)
        width = page.evaluate("document.documentElement.scrollWidth")
        assert width == 390, f"{place} is {width} pixels wide"
