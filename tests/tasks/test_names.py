"""Names of tasks: any visible text is stored as typed, and refused text stays in its field."""

from __future__ import annotations

import unicodedata

import pytest
from django.contrib.auth.models import User
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.tasks.conftest import Browser, MakeBrowser

pytestmark = pytest.mark.django_db(transaction=True)

GOOD = {
    "255 characters": "x" * 255,
    "255 emoji": "😀" * 255,
    "emoji of several characters": "👩‍👩‍👧‍👦 🏳️‍🌈 🇩🇪",
    "tags": "<script>alert(1)</script>&amp;\"'",
    "template": "{{ form }}{% csrf_token %}",
    "right to left": "שלום עולם \u202eabc",
    "marks": "Z̸̡͔͎a̷l̴g̵o̶",
    "zero width inside": "a\u200bb",
    "quote": "' OR 1=1; --",
    "percent": "%s %(name)s {0}",
    "control": "a\x01b",
}
BAD = {
    "empty": ("", "Give the task a name."),
    "white space": (" \t\u3000\u00a0 ", "Give the task a name."),
    "zero width": ("\u200b\u200d\ufeff", "Give the task a name that can be seen."),
    "direction marks": ("\u202e\u2066", "Give the task a name that can be seen."),
    "256 characters": ("x" * 256, "at most 255 characters; this one has 256"),
    "256 emoji": ("😀" * 256, "at most 255 characters; this one has 256"),
    "a long text in HTML": ("<b>" * 1000, "at most 255 characters; this one has 3000"),
    "NUL": ("a\0b", "cannot contain the NUL character"),
}


@pytest.fixture
def mine(browser: MakeBrowser, user: User) -> Browser:
    mine = browser(user)
    mine.add("task")
    return mine


@pytest.mark.parametrize("name", GOOD.values(), ids=GOOD)
def test_a_name_is_shown_exactly_as_typed(mine: Browser, name: str) -> None:
    page = mine.add(name)
    assert page.names == [name, "task"]
    assert "<script>" not in page.html
    page = mine.get(f"/tasks/{mine.id_of(name)}/edit/")
    assert page.typed("name") == name
    assert "<script>" not in page.html


@pytest.mark.parametrize(("name", "says"), BAD.values(), ids=BAD)
@pytest.mark.parametrize("renaming", [False, True], ids=["add", "rename"])
def test_a_refused_name_stays_in_its_field_with_the_reason(
    mine: Browser, name: str, says: str, renaming: bool
) -> None:
    page = mine.post(f"/tasks/{mine.id_of('task')}/edit/" if renaming else "/", name=name)
    assert page.status == 422
    assert says in page.errors_beside("name")
    assert page.typed("name") == name
    assert "<b>" not in page.html
    assert "<title>Error: " in page.html
    assert mine.get().names == ["task"]


@pytest.mark.parametrize("renaming", [False, True], ids=["add", "rename"])
def test_a_form_without_a_name_is_refused_like_an_empty_name(mine: Browser, renaming: bool) -> None:
    page = mine.post(f"/tasks/{mine.id_of('task')}/edit/" if renaming else "/")
    assert page.status == 422
    assert page.errors_beside("name") == "Give the task a name."


def visible(text: str) -> bool:
    return any(unicodedata.category(character)[0] in "LNPS" for character in text)


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")).filter(visible))
@example("a\r\nb")
@example("\u2028a\x85")
@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_any_visible_name_is_stored_without_surrounding_space(mine: Browser, text: str) -> None:
    name = text[:255].strip()
    (task,) = mine.get().rows
    page = mine.post(f"/tasks/{task.id}/edit/", name=text[:255])
    if visible(name):
        assert page.names == [name]
