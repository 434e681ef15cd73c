"""After a deployment with other templates or static files, pages of the old release are misses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from django.core.files.storage import storages
from django.shortcuts import render
from django.utils.autoreload import file_changed

from beaker_regions.django.pages.fingerprint import template_fingerprint

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from django.http import HttpRequest, HttpResponse
    from django.test import Client

    from tests.beaker_regions.django.pages.conftest import Site


on_files = pytest.mark.parametrize("manager", ["file_manager"], indirect=True)


@pytest.fixture
def templates(site: Site, settings: Any, tmp_path: Path) -> Iterator[Path]:
    settings.TEMPLATES = [
        {"BACKEND": "django.template.backends.django.DjangoTemplates", "DIRS": [tmp_path]}
    ]
    template_fingerprint.cache_clear()
    yield tmp_path
    template_fingerprint.cache_clear()


def test_a_changed_template_changes_pages_and_fragments(
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


@on_files
@pytest.mark.parametrize("cached", [False, True])
def test_a_folder_of_a_loader_is_part_of_the_fingerprint(
    templates: Path, settings: Any, cached: bool
) -> None:
    (templates / "page.html").write_text("a page")
    loader: Any = ("django.template.loaders.filesystem.Loader", [templates])
    if cached:
        loader = ("django.template.loaders.cached.Loader", [loader])
    backend = "django.template.backends.django.DjangoTemplates"
    settings.TEMPLATES = [{"BACKEND": backend, "OPTIONS": {"loaders": [loader]}}]
    template_fingerprint.cache_clear()
    before = template_fingerprint()
    (templates / "page.html").write_text("another")
    template_fingerprint.cache_clear()
    assert template_fingerprint() != before


@on_files
def test_templates_without_a_folder_are_part_of_the_fingerprint(site: Site) -> None:
    site.templates["page.html"] = "a page"
    template_fingerprint.cache_clear()
    before = template_fingerprint()
    site.templates["page.html"] = "another"
    template_fingerprint.cache_clear()
    assert template_fingerprint() != before


@on_files
def test_a_translation_is_part_of_the_fingerprint(
    templates: Path, settings: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("locale")
    file = folder / "de" / "LC_MESSAGES" / "django.mo"
    file.parent.mkdir(parents=True)
    settings.LOCALE_PATHS = [folder]
    known = set()
    for text in (b"one", b"two"):
        file.write_bytes(text)
        file_changed.send(sender=None, file_path=file)
        known.add(template_fingerprint())
    assert len(known) == 2


def test_another_name_of_a_static_file_is_another_fingerprint(
    templates: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (templates / "page.html").write_text("a page")
    known = set()
    for manifest in ("one", "two"):
        monkeypatch.setattr(storages["staticfiles"], "manifest_hash", manifest, raising=False)
        template_fingerprint.cache_clear()
        known.add(template_fingerprint())
    assert len(known) == 2
