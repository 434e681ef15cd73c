"""What makes the list quick: dates in one press, many lines at once, undo of everything, groups."""

from __future__ import annotations

from typing import TYPE_CHECKING

from playwright.sync_api import expect

from tests.browser.test_lists import (
    DESKTOP,
    PHONE,
    add,
    fill,
    names,
    said,
    show,
    with_scripts_and_slowly_without,
)

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tests.browser.conftest import Visit

PASTE = """(field, text) => {
    const clipboardData = new DataTransfer();
    clipboardData.setData("text/plain", text);
    field.dispatchEvent(new ClipboardEvent("paste",
        { clipboardData, bubbles: true, cancelable: true }));
}"""

# In one turn of the page, so that the answer to the first is never shown.
DELETE_TWO = """() => {
    document.querySelector(".delete").click();
    document.querySelector(".delete").click();
}"""


def undo(page: Page) -> None:
    page.get_by_role("button", name="Undo").click()


@with_scripts_and_slowly_without
def test_ticks_and_edits_are_undone_and_deleted_tasks_come_back_later(
    visit: Visit, scripts: bool
) -> None:
    page = visit(java_script_enabled=scripts, **DESKTOP)
    fill(page, "Two", "One")
    page.get_by_role("button", name="Mark as done: One").click()
    said(page, "“One” is done.")
    if scripts:  # otherwise the browser goes to the task, and unfolds it
        expect(page.get_by_role("link", name="Edit: One")).to_be_hidden()
    expect(page.locator("summary", has_text="Done (1)")).to_be_visible()
    undo(page)
    said(page, "“One” is open again.")
    expect(page.locator("#fold")).to_have_count(0)

    page.get_by_role("link", name="Edit: One").click()
    page.locator(".editor").get_by_label("Task").fill("Another name")
    page.locator(".editor").get_by_label("Due").fill("2030-01-31")
    page.get_by_role("button", name="Save").click()
    expect(names(page)).to_have_text(["Another name", "Two"])
    undo(page)
    expect(names(page)).to_have_text(["One", "Two"])
    expect(page.locator("time")).to_have_count(0)

    page.get_by_role("button", name="Delete: One").click()
    said(page, "Deleted")
    page.get_by_role("link", name="Recently deleted").click()
    page.get_by_role("button", name="Bring back: One").click()
    said(page, "Brought back 1 task.")
    expect(names(page)).to_have_text(["One", "Two"])


def test_changes_are_undone_one_after_the_other(visit: Visit, complaints: list[str]) -> None:
    page = visit(**DESKTOP)
    fill(page, "Three", "Two")
    add(page, "One")
    page.get_by_role("button", name="Mark as done: Two").click()
    said(page, "“Two” is done.")
    page.get_by_role("link", name="Edit: Three").press("Alt+ArrowUp")
    said(page, "Moved “Three”.")
    expect(names(page)).to_have_text(["Three", "One", "Two (done)"])
    page.evaluate(DELETE_TWO)
    said(page, "Deleted “One”.")
    page.locator("#list").focus()
    for says, left in (
        ("Brought back 1 task.", ["One", "Two (done)"]),
        ("Brought back 1 task.", ["Three", "One", "Two (done)"]),
        ("Moved “Three”.", ["One", "Three", "Two (done)"]),
        ("“Two” is open again.", ["One", "Two", "Three"]),
    ):
        page.keyboard.press("z")
        said(page, says)
        expect(names(page)).to_have_text(left)
    page.context.set_offline(True)
    page.keyboard.press("z")
    said(page, "No connection")
    page.context.set_offline(False)
    complaints.clear()
    expect(page.get_by_role("status")).to_be_empty()
    page.keyboard.press("z")
    said(page, "Deleted “One”.")
    expect(names(page)).to_have_text(["Two", "Three"])
    page.get_by_role("button", name="Redo").click()
    expect(names(page)).to_have_text(["One", "Two", "Three"])


def test_an_undo_does_not_take_back_what_another_tab_has_changed_since(visit: Visit) -> None:
    page = visit(**DESKTOP)
    fill(page, "Once")
    page.get_by_role("link", name="Edit: Once").click()
    page.locator(".editor").get_by_label("Task").fill("Twice")
    page.keyboard.press("Enter")
    expect(names(page)).to_have_text(["Twice"])
    other = page.context.new_page()
    other.goto("/")
    other.get_by_role("link", name="Edit: Twice").click()
    other.locator(".editor").get_by_label("Task").fill("Much better")
    other.keyboard.press("Enter")
    expect(names(other)).to_have_text(["Much better"])
    undo(page)
    said(page, "The task was changed elsewhere since: nothing was undone.")
    expect(names(page)).to_have_text(["Much better"])
    undo(other)
    expect(names(other)).to_have_text(["Twice"])
    other.get_by_role("button", name="Redo").click()
    expect(names(other)).to_have_text(["Much better"])


def test_many_pasted_lines_become_many_tasks(visit: Visit) -> None:
    page = visit(**PHONE)
    fill(page, "Here already")
    field = page.locator("#add").get_by_label("Task")
    field.evaluate(PASTE, "Milk\r\n\r\n Bread \r\nMilk\r\nEggs\r\n")
    said(page, "Added 3 tasks; 1 repeated line left out.")
    expect(names(page)).to_have_text(["Milk", "Bread", "Eggs", "Here already"])
    undo(page)
    said(page, "Deleted 3 tasks.")
    expect(names(page)).to_have_text(["Here already"])
    field.evaluate(PASTE, "Milk\n" + "x" * 256)
    said(page, "Nothing was added. Line 2: A name has at most 255 characters")
    expect(names(page)).to_have_text(["Here already"])


def test_dates_in_one_press_groups_of_what_is_due_and_links_in_names(visit: Visit) -> None:
    page = visit(**PHONE)
    page.clock.set_fixed_time("2030-12-31T12:00:00")
    page.reload()
    add(page, "Late", due="2030-12-30")
    add(page, "See https://example.org/a?b=1.")
    form = page.locator("#add")
    for name, choice in (("Now", "Today"), ("Soon", "Next week")):
        form.get_by_label("Task").fill(name)
        form.locator("summary").click()
        form.get_by_role("button", name=choice).click()
        expect(form.get_by_label("Task")).to_be_focused()
        expect(form.locator(".chosen")).not_to_be_empty()
        page.keyboard.press("Enter")
        said(page, f"Added “{name}”.")
        expect(form.locator(".chosen")).to_be_empty()
    link = page.get_by_role("link", name="https://example.org/a?b=1", exact=True)
    expect(link).to_have_attribute("href", "https://example.org/a?b=1")
    expect(link).to_have_attribute("rel", "noopener noreferrer nofollow")
    link.click(trial=True)

    show(page, "Due")
    expect(page.get_by_role("heading", level=2)).to_have_text(["Overdue", "Today", "Later"])
    for part, name in (("Overdue", "Late"), ("Today", "Now"), ("Later", "Soon")):
        expect(page.get_by_role("list", name=part).locator(".name")).to_have_text([name])
    add(page, "Without a date")
    expect(page).to_have_url("/?show=due")
    page.get_by_role("status").get_by_role("link", name="Show").click()
    expect(names(page)).to_contain_text(["Without a date"])


def test_a_reader_of_a_shared_list_sees_each_change(visit: Visit, complaints: list[str]) -> None:
    page = visit(**DESKTOP)
    fill(page, "First")
    page.get_by_role("link", name="Share, export").click()
    page.get_by_role("button", name="Make an address").click()
    address = page.get_by_role("main").get_by_role("link", name="/shared/").get_attribute("href")
    assert address
    reader = visit(**PHONE)
    reader.goto(address)
    expect(reader.locator(".title")).to_have_text(["First"])
    expect(reader.get_by_role("button")).to_have_count(0)
    made = reader.locator("#origin time")
    made.evaluate("time => { time.textContent = '' }")
    page.goto("/")
    add(page, "Second")
    expect(reader.locator(".title")).to_have_text(["Second", "First"])
    expect(made).not_to_be_empty()
    page.goto("/account/")
    page.get_by_role("button", name="Stop sharing").click()
    expect(reader.get_by_text("Not found")).to_be_visible()
    assert {complaint.split()[0] for complaint in complaints} == {"404"}
    complaints.clear()


def test_a_change_is_answered_with_what_has_changed(visit: Visit) -> None:
    page = visit(**DESKTOP)
    fill(page, *(f"Task {number}" for number in range(50)))
    sizes: list[int] = []
    page.on("response", lambda response: sizes.append(len(response.body()) if response.ok else 0))
    page.get_by_role("button", name="Mark as done: Task 7", exact=True).click()
    said(page, "is done")
    expect(names(page)).to_have_count(50)
    expect(names(page).last).to_have_text("Task 7 (done)")
    page.wait_for_function("() => !document.getElementById('list').ariaBusy")
    assert len(page.content()) > 30_000
    assert 0 < max(sizes) < 12_000, sizes
