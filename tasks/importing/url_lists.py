"""A list of URLs as a source: each line is the URL of a file, and may have its name on the site."""

from __future__ import annotations

import hashlib
import os
import sys
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from tasks.files.content import path_digest, path_of
from tasks.importing.index import BATCH, is_kept
from tasks.importing.jobs import map_as_completed
from tasks.importing.remote import remote_file
from tasks.importing.sources import (
    MAX_JOBS,
    Skipped,
    SourceError,
    SourceFileInfo,
    is_site_path,
    path_in,
)
from tasks.importing.urls import JOBS, download
from tasks.models import ImportedFile
from tasks.sources import versions
from tasks.sources.fetching import client
from tasks.sources.fetching.access import origin_of
from tasks.sources.fetching.trying import until_done
from tasks.sources.fetching.urls import BadUrlError, checked, name_in, without_secrets
from tasks.sources.progress import Progress
from tasks.sources.remote import checked_remote, is_remote

if TYPE_CHECKING:
    from collections.abc import Iterator

_LARGEST = 64 * 1024 * 1024
"""The largest list, in bytes; it is held in memory."""
STANDARD_INPUT = "-"


class _Line(NamedTuple):
    """A line with a URL."""

    number: int
    url: str
    path: str


@dataclass(frozen=True, slots=True)
class UrlList:
    """A list as it was read."""

    root: str
    lines: list[_Line]
    skipped: list[Skipped]
    """The lines that are no URLs, and those that repeat others."""

    @property
    def server(self) -> str:
        """A URL of the one server of all lines. Raises SourceError if there are several."""
        if len({origin_of(line.url) for line in self.lines}) > 1:
            raise SourceError("--headers is for one server, and the list has URLs of several")
        return self.lines[0].url if self.lines else ""


def read_list(name: str) -> UrlList:
    """Read a list: a file, or ``-`` for the standard input. Empty lines, and those that begin with
    ``#``, do not count. Raises SourceError if it cannot be read."""
    try:
        if name == STANDARD_INPUT:
            text = sys.stdin.buffer.read(_LARGEST + 1)
            # Another list is another source: its files replace no others, and none is forgotten.
            root = f"standard input, {hashlib.sha256(text).hexdigest()[:16]}"
        else:
            with open(name, "rb") as file:
                text = file.read(_LARGEST + 1)
            root = path_of(os.path.realpath(name))
    except OSError as error:
        raise SourceError(f"{path_of(name)!r} cannot be read: {error.strerror}") from error
    if len(text) > _LARGEST:
        raise SourceError(f"{path_of(name)!r} is longer than {_LARGEST} bytes")
    lines: dict[str, _Line] = {}
    skipped = []
    for number, raw in enumerate(text.decode("utf-8-sig", "surrogateescape").splitlines(), 1):
        words = raw.split(None, 1)
        if not words or words[0].startswith("#"):
            continue
        try:
            line = _parsed(number, *words)
        except BadUrlError as error:
            # The file that it means is not known, so no file may be forgotten.
            skipped.append(Skipped("", f"line {number} {error}", hides_files=True))
            continue
        former = lines.setdefault(line.path, line)
        if former.url != line.url:
            reason = f"line {number} has the name of line {former.number}; write another behind it"
            skipped.append(Skipped(line.path, reason))
        elif former is not line:
            reason = f"line {number} repeats line {former.number}"
            skipped.append(Skipped(line.path, reason, by_nature=True))
    return UrlList(root, list(lines.values()), skipped)


def _parsed(number: int, url: str, name: str | None = None) -> _Line:
    url = checked_remote(url) if is_remote(url) else without_secrets(checked(url))
    if name is None:
        name = url.rpartition("/")[2] if is_remote(url) else name_in(url)
    name = name.strip()
    if not is_site_path(name):
        raise BadUrlError("has a name behind its URL that no file can have")
    return _Line(number, url, path_of(name))


class ListSource:
    """The files of a list. Each server is asked for the version of each file, and sends those that
    are not stored."""

    default_jobs = JOBS
    max_jobs = MAX_JOBS

    def __init__(self, listed: UrlList, into: str, jobs: int | None) -> None:
        """Import into a folder of the site. ``jobs`` questions are asked at the same time."""
        self.root = listed.root
        self._list = listed
        self._into = into
        self._jobs = jobs or JOBS
        self.may_fork = not any(is_remote(line.url) for line in listed.lines)

    def covers(self, path: str) -> bool:
        return True

    def walk(self) -> Iterator[SourceFileInfo | Skipped]:
        """Yield the files in the order of the list, and then the lines that are no files."""
        lines = self._list.lines
        for start in range(0, len(lines), BATCH):
            batch = lines[start : start + BATCH]
            digests = {path_digest(path_in(self._into, line.path)): line for line in batch}
            rows = {
                digests[row.path_digest]: row
                for row in ImportedFile.objects.filter(path_digest__in=list(digests))
            }
            todo = [(line, rows.get(line)) for line in batch]
            found = {each[0]: info for each, info in map_as_completed(self._jobs, _ask, todo)}
            yield from (found[line] for line in batch)
        yield from self._list.skipped

    def close(self) -> None:
        """Nothing is open."""


def _ask(asked: tuple[_Line, ImportedFile | None]) -> SourceFileInfo | Skipped:
    """Ask the server for the version of a file, which may have a row."""
    (_, url, path), row = asked
    if is_remote(url):
        try:
            return remote_file(path, url)
        except OSError as error:
            return Skipped(path, str(error))
    if row is not None and (row.source != path_of(url) or not is_kept(row)):
        row = None
    conditions = {} if row is None else versions.conditions(row.version)
    try:
        response = until_done(url, partial(client.describe, url, conditions), Progress())
    except OSError as error:
        return Skipped(path, str(error))
    if row is not None and response.status == 304:
        return SourceFileInfo(path, url, row.size, row.version, download, is_checked=True)
    # Many servers say 0 where they leave out the content.
    size, version = client.length_of(response) or None, versions.of_answer(response.headers)
    return SourceFileInfo(path, url, size, version, download, is_checked=True)
