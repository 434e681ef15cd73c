"""Manifests: lists of files and their SHA-256 digests, as the command sha256sum writes them."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from fnmatch import fnmatchcase

from beakercache import cache
from tasks.archives.limits import NAME
from tasks.fetching import versions
from tasks.fetching.downloads import TRIES, text_of
from tasks.reading import NOBODY

_NAMES = ("sha256sum*", "*.sha256", "*.sha256sum", "*.sha256sums")
_LARGEST = 64 * 1024 * 1024
"""Bytes of a manifest, which is held in memory."""
_LINE = re.compile(rb"(\\?)([0-9A-Fa-f]{64}) [ *](.+)", re.DOTALL)
_ESCAPES = {b"\\\\": b"\\", b"\\n": b"\n", b"\\r": b"\r"}


@dataclass(frozen=True, slots=True)
class Manifest:
    """A manifest as a server has sent it."""

    version: str
    text: bytes


@dataclass(frozen=True, slots=True)
class Line:
    """A file of a manifest."""

    name: str
    """As in the file system, relative to the manifest's folder; or the line, if it is none."""
    digest: str = ""
    """SHA-256, in hexadecimal."""
    refusal: str = ""
    """Why it is not fetched."""


def is_manifest_name(name: str) -> bool:
    """Whether a file of this name is likely to be a manifest."""
    return any(fnmatchcase(name.lower(), pattern) for pattern in _NAMES)


def lines_at(url: str) -> list[Line] | None:
    """Return what the manifest at a URL lists; None when it is none. It is sent only when it is
    not as it was the last time. Raises OSError."""
    return parse(_manifest.refresh(url, _manifest.peek(url)).text)


@cache.region("files", ignore=["held"])
def _manifest(url: str, held: Manifest | None = None) -> Manifest:
    conditions = {} if held is None else versions.conditions(held.version)
    response, text = text_of(url, conditions, _LARGEST, TRIES, NOBODY)
    if held is not None and response.status == 304:
        return held
    return Manifest(versions.of_answer(response.headers), text)


def parse(text: bytes) -> list[Line] | None:
    """Return the lines of a manifest; None for a text that does not begin as one."""
    lines = [line.removesuffix(b"\r") for line in text.split(b"\n")]
    lines = [line for line in lines if line and not line.startswith(b"#")]
    if not lines or _LINE.fullmatch(lines[0]) is None:
        return None
    return [_parsed(line) for line in lines]


def _parsed(line: bytes) -> Line:
    told = _LINE.fullmatch(line)
    if told is None:
        return Line(os.fsdecode(line[:80]), refusal="is no line of a manifest")
    name = told[3]
    if told[1]:
        name = re.sub(rb"\\[\\nr]", lambda escape: _ESCAPES[escape[0]], name)
    # As "find . -type f" names files, which most manifests are made of.
    path = os.fsdecode(re.sub(rb"^(\./+)+", b"", name))
    return Line(path, told[2].decode().lower(), _refusal(path))


def _refusal(path: str) -> str:
    """Return why a name is not even looked at; empty for what may be fetched."""
    parts = path.split("/")
    if path.startswith("/") or ".." in parts or re.match(r"[A-Za-z][A-Za-z0-9+.-]*:/", path):
        return "would lie outside of the source"
    if "" in parts or "." in parts or "\0" in path or len(os.fsencode(path)) > NAME:
        return "has a name that no file can have"
    return ""
