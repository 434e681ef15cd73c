"""A deployment changes templates and static files; what the release before it kept is not used."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from django.core.files.storage import storages
from django.shortcuts import render
from django.utils.autoreload import file_changed

from regions.django.release import release

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from django.http import HttpRequest, HttpResponse
    from django.test import Client

    from tests.regions.django.web.conftest import Site


@pytest.fixture
def templates(site: Site, settings: Any, tmp_path: Path) -> Iterator[Path]:
    settings.TEMPLATES = [
        {"BACKEND": "django.template.backends.django.DjangoTemplates", "DIRS": [tmp_path]}
    ]
    release.cache_clear()
    yield tmp_path
    release.cache_clear()


def test_pages_and_fragments_are_those_of_the_templates(
    site: Site, browser: Client, templates: Path
) -> None:
    def view(request: HttpRequest) -> HttpResponse:
        return render(request, "page.html")

    site.page(view, "kept/")
    site.add(view, "plain/")
    source = '{% load regions %}{% region "functions" %}{% include "row.html" %}{% endregion %}'
    (templates / "page.html").write_text(source)
    for text in ("old", "new"):
        (templates / "row.html").write_text(text)
        file_changed.send(sender=None, file_path=templates / "row.html")
        for address in ("/kept/", "/plain/"):
            assert browser.get(address).content.decode() == text


def test_a_static_file_of_another_name_is_another_release(
    templates: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (templates / "page.html").write_text("a page")
    known = set()
    for manifest in ("one", "two"):
        monkeypatch.setattr(storages["staticfiles"], "manifest_hash", manifest, raising=False)
        release.cache_clear()
        known.add(release())
    assert len(known) == 2
