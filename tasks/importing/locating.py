"""Finds the kind of source that a name stands for."""

from __future__ import annotations

import contextlib
import os
import stat
from typing import TYPE_CHECKING

from tasks.files.content import path_of
from tasks.importing.archives import local_archive
from tasks.importing.folders import FolderSource
from tasks.importing.index import number_from
from tasks.importing.local_manifests import LocalManifestSource
from tasks.importing.manifests import is_manifest_name
from tasks.importing.remote import remote_source
from tasks.importing.sources import SourceError, SourceOptions
from tasks.importing.texts import printable
from tasks.importing.url_lists import STANDARD_INPUT
from tasks.importing.urls import source_at_url
from tasks.sources.archives.formats import is_archive
from tasks.sources.fetching.urls import BadUrlError, checked, has_scheme, shown
from tasks.sources.remote import checked_remote, is_remote
from tasks.sources.source_file import kind_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tasks.importing.sources import Skipped, Source, SourceFileInfo


class GoneSource:
    """A source that cannot be read any more: it has no files."""

    default_jobs = max_jobs = 1
    may_fork = False

    def __init__(self, name: str) -> None:
        self.root = path_of(name)

    def walk(self) -> Iterator[SourceFileInfo | Skipped]:
        """Yield nothing."""
        return iter(())

    def covers(self, path: str) -> bool:
        return True

    def close(self) -> None:
        """Nothing is open."""


def source_shown(name: str) -> str:
    """Return what the operator has named as a source, or as a list of URLs, for records: an
    absolute path, or a URL without its query, in which there may be a secret."""
    if name == STANDARD_INPUT:
        return "standard input"
    return printable(shown(name) if has_scheme(name) else path_of(os.path.abspath(name)))


def source_at(name: str, options: SourceOptions | None = None) -> Source:
    """Return the source at ``name``, a path or a URL. Raises SourceError."""
    options = options or SourceOptions()
    try:
        return _source_at(name, options)
    except SourceError:
        if not options.keep:
            raise
        with contextlib.suppress(BadUrlError):
            gone = GoneSource(_absolute(name))
            if number_from(gone.root, options.into):
                return gone
        raise


def _absolute(name: str) -> str:
    """Return the name under which a source is known. Raises BadUrlError."""
    if is_remote(name):
        return checked_remote(name)
    return checked(name) if has_scheme(name) else os.path.realpath(name)


def _source_at(name: str, options: SourceOptions) -> Source:
    if is_remote(name):
        return remote_source(name, options)
    if has_scheme(name):
        return source_at_url(name, options)
    if options.name:
        raise SourceError("--name is for the one file at a URL")
    try:
        real = os.path.realpath(name, strict=True)
        mode = os.stat(real).st_mode
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise SourceError(f"{path_of(name)!r} cannot be imported: {reason}") from error
    if stat.S_ISDIR(mode):
        return FolderSource(real, leaves_out=options.leaves_out)
    if stat.S_ISREG(mode) and not options.as_file:
        if is_archive(real):
            return local_archive(real, options.limits)
        if is_manifest_name(os.path.basename(real)):
            return LocalManifestSource(real)
    if stat.S_ISREG(mode):
        return FolderSource(os.path.dirname(real), os.path.basename(real))
    raise SourceError(f"{path_of(name)!r} is {kind_of(mode)}, neither a folder nor a file")
