"""What pages are made of beside data, and so what a deployment may change: templates, and the
names of static files."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path

from django.apps import apps
from django.template import engines


@functools.cache
def release() -> str:
    """Return a digest of all templates, and of the static files as far as their names tell their
    content. Pages and fragments of another digest are not looked at: another release has made
    them. Hosts of one release have one digest."""
    digest = hashlib.blake2b(digest_size=16)
    for engine in engines.all():
        for folder in map(Path, getattr(engine, "template_dirs", ())):
            for path in sorted(folder.rglob("*")):
                if path.is_file():
                    content = path.read_bytes()
                    digest.update(f"{path.relative_to(folder)} {len(content)} ".encode())
                    digest.update(content)
    if apps.is_installed("django.contrib.staticfiles"):
        from django.contrib.staticfiles.storage import staticfiles_storage

        digest.update(str(getattr(staticfiles_storage, "manifest_hash", "")).encode())
    return digest.hexdigest()


def forget_release(**_: object) -> None:
    """Look at the templates again. A receiver of ``file_changed``: Django's development server
    does not start anew for a template."""
    release.cache_clear()
