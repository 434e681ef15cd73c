"""Whether a source still has the version of a file that is stored, without reading the file."""

from __future__ import annotations

import os
from functools import partial

from tasks.sources import versions
from tasks.sources.archives.formats import SEPARATOR, archive_version
from tasks.sources.fetching import client
from tasks.sources.fetching.trying import FEW_TRIES, until_done
from tasks.sources.fetching.urls import archive_and_path, is_url
from tasks.sources.progress import Progress
from tasks.sources.remote import is_current_remote, is_remote
from tasks.sources.source_file import SourceFile


def is_current(name: str, size: int | None, version: str, tries: int = FEW_TRIES) -> bool:
    """Return whether the source ``name`` (as of `open_source`) is sure to have this version. The
    digest of a manifest always means the same content. Raises OSError if the source cannot be
    asked, or has changed."""
    if versions.digest_of(version) is not None:
        return True
    inside = archive_and_path(name)
    if inside is not None:
        name = inside[0]
    if is_url(name):
        headers = versions.conditions(version)
        if not headers:
            return False
        response = until_done(name, partial(client.get, name, headers), Progress(), tries)
        client.discard(response)
        return response.status == 304
    if is_remote(name):
        return is_current_remote(name, size if inside is None else None, version)
    if SEPARATOR in name:
        return archive_version(os.stat(name.partition(SEPARATOR)[0])) == version
    SourceFile(name, size, version).close()
    return True
