"""What pages are made of beside data, and so what a deployment may change: templates, translations,
and the names of static files."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import django
from django.apps import apps
from django.conf import settings
from django.template import engines

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


@functools.cache
def release() -> str:
    """Return a digest of all templates and translations, and of the static files as far as their
    names tell their content. Pages and fragments of another digest are not looked at: another
    release has made them. Hosts of one release have one digest.

    Of a template loader that is neither Django's nor has ``get_dirs``, nothing is known.
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
    """Yield loaders of templates, and those that they ask."""
    for loader in loaders:
        yield loader
        yield from _loaders(getattr(loader, "loaders", ()))


def _translations() -> Iterator[Path]:
    """Yield the folders of translations but Django's own, which its version tells."""
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


def forget_release(**_: object) -> None:
    """Look at all of it again. A receiver of ``file_changed``: Django's development server
    does not start anew for a template."""
    release.cache_clear()
