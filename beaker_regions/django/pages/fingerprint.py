"""A fingerprint of what a deployment may change in pages besides data: templates, translations, and
the names of static files."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import django
from django.apps import apps
from django.conf import settings
from django.template import engines


@functools.cache
def template_fingerprint() -> str:
    """Return a digest of all templates and translations, and of the names of static files if these
    contain a hash. It is part of the key of pages and fragments, so those of another release are
    misses. All hosts with the same release have the same digest.

    Templates of a loader that is not Django's and has no ``get_dirs`` are not part of it.
    """
    digest = hashlib.blake2b(django.__version__.encode(), digest_size=16)
    for engine in engines.all():
        folders = [*getattr(engine, "template_dirs", ())]
        for loader in _loaders(getattr(getattr(engine, "engine", None), "template_loaders", ())):
            folders += loader.get_dirs() if hasattr(loader, "get_dirs") else ()
            for name, text in sorted(getattr(loader, "templates_dict", {}).items()):
                _add(digest, name, text.encode())
        for folder in dict.fromkeys(map(Path, folders)):
            _add_files(digest, folder, "*")
    if settings.USE_I18N:
        for folder in _translations():
            _add_files(digest, folder, "*.mo")
    if apps.is_installed("django.contrib.staticfiles"):
        from django.contrib.staticfiles.storage import staticfiles_storage

        digest.update(str(getattr(staticfiles_storage, "manifest_hash", "")).encode())
    return digest.hexdigest()


def _loaders(loaders: Iterable[Any]) -> Iterator[Any]:
    """Yield template loaders, and the loaders inside them."""
    for loader in loaders:
        yield loader
        yield from _loaders(getattr(loader, "loaders", ()))


def _translations() -> Iterator[Path]:
    """Yield the folders of translations, without Django's own: its version is in the digest."""
    yield from map(Path, settings.LOCALE_PATHS)
    for app in apps.get_app_configs():
        if not app.name.startswith("django.contrib."):
            yield Path(app.path, "locale")


def _add_files(digest: hashlib.blake2b, folder: Path, pattern: str) -> None:
    for path in sorted(folder.rglob(pattern)):
        if path.is_file():
            _add(digest, str(path.relative_to(folder)), path.read_bytes())


def _add(digest: hashlib.blake2b, name: str, content: bytes) -> None:
    digest.update(f"{name} {len(content)} ".encode())
    digest.update(content)


def forget_fingerprint(**_: object) -> None:
    """Compute the fingerprint again. A receiver of ``file_changed``: Django's development server
    does not restart when a template changes."""
    template_fingerprint.cache_clear()
