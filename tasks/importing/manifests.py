"""Manifests: lists of files and their SHA-256 digests, as the commands sha256sum (also with
``--tag``), sha256 and openssl write them. A manifest may be signed in the clear; the signature is
not checked.
"""

from __future__ import annotations

import codecs
import io
import os
import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from beakercache import cache
from tasks.sources.archives.limits import NAME
from tasks.sources.fetching import versions
from tasks.sources.fetching.downloads import TRIES, text_of
from tasks.sources.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Iterator

_NAMES = ("sha256sum*", "*.sha256", "*.sha256sum", "*.sha256sums")
_LARGEST = 64 * 1024 * 1024
"""The largest manifest, in bytes; it is held in memory."""
_LINE = re.compile(rb"(\\?)([0-9A-Fa-f]{64}) [ *](.+)", re.DOTALL)
_TAGGED = re.compile(rb"(\\?)SHA(?:2-)?256 ?\((.+)\) ?= ?([0-9A-Fa-f]{64})", re.DOTALL)
_OTHER = re.compile(rb"\\?[A-Z0-9/-]+ ?\(.+\) ?= ?[0-9A-Fa-f]+", re.DOTALL)
"""A line with a digest of another kind. It is ignored: the file has a SHA-256 line as well."""
_SIGNED = b"-----BEGIN PGP SIGNED MESSAGE-----"
_SIGNATURE = b"-----BEGIN PGP SIGNATURE-----"
_ESCAPES = {b"\\\\": b"\\", b"\\n": b"\n", b"\\r": b"\r"}


class BadManifestError(ValueError):
    """A file that is named like a manifest, but is none."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """A manifest as the server sent it."""

    version: str
    text: bytes


@dataclass(frozen=True, slots=True)
class ManifestEntry:
    """A file of a manifest."""

    name: str
    """As in the file system, relative to the manifest's folder; or the line, if it has no name."""
    digest: str = ""
    """The SHA-256 of the content, in hexadecimal."""
    refusal: str = ""
    """The reason not to fetch it; empty if it may be fetched."""


def is_manifest_name(name: str) -> bool:
    """Whether a file of this name is probably a manifest."""
    return any(fnmatchcase(name.lower(), pattern) for pattern in _NAMES)


def entries_at(url: str) -> list[ManifestEntry]:
    """Return the entries of the manifest at a URL. The server sends it only if it has changed
    since the last time. Raises BadManifestError, OSError."""
    return parse(_manifest.refresh(url, _manifest.peek(url)).text)


@cache.region("files", ignore=["stored"])
def _manifest(url: str, stored: Manifest | None = None) -> Manifest:
    conditions = {} if stored is None else versions.conditions(stored.version)
    response, text = text_of(url, conditions, _LARGEST, TRIES, Progress())
    if stored is not None and response.status == 304:
        return stored
    return Manifest(versions.of_answer(response.headers), text)


def parse(text: bytes) -> list[ManifestEntry]:
    """Return the entries of a manifest. Raises BadManifestError if no line has a digest."""
    parsed = map(_parsed, _lines(_in_utf8(text)))
    entries = [entry for entry in parsed if entry is not None]
    if all(not entry.digest for entry in entries):
        raise BadManifestError(
            "is named like a manifest, but no line of it has a SHA-256 and a name, as sha256sum "
            "writes them (DIGEST  NAME)"
        )
    return entries


def _in_utf8(text: bytes) -> bytes:
    """Return a text in UTF-8, without its byte order mark: PowerShell writes UTF-16."""
    if text.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        try:
            return text.decode("utf-16").encode("utf-8", "surrogatepass")
        except UnicodeDecodeError as error:
            raise BadManifestError("is named like a manifest, but is damaged UTF-16") from error
    return text.removeprefix(codecs.BOM_UTF8)


def _lines(text: bytes) -> Iterator[bytes]:
    """Yield the lines without comments; from a signed text, only the signed lines."""
    lines = (line.removesuffix(b"\n").removesuffix(b"\r") for line in io.BytesIO(text))
    signed = False
    for line in lines:
        if line.rstrip() == _SIGNED:
            signed = True
            # Skip the headers, up to an empty line.
            while next(lines, b"").strip():
                pass
        elif signed and line.rstrip() == _SIGNATURE:
            return
        elif line and not line.startswith(b"#"):
            yield line.removeprefix(b"- ") if signed else line


def _parsed(line: bytes) -> ManifestEntry | None:
    """Return the entry of a line; None for a line with a digest of another kind."""
    if match := _LINE.fullmatch(line):
        mark, digest, name = match.groups()
    elif match := _TAGGED.fullmatch(line):
        mark, name, digest = match.groups()
    elif _OTHER.fullmatch(line):
        return None
    else:
        return ManifestEntry(os.fsdecode(line[:80]), refusal="is not a line of a manifest")
    if mark:
        name = re.sub(rb"\\[\\nr]", lambda escape: _ESCAPES[escape[0]], name)
    # Most manifests are made from the output of "find . -type f".
    path = os.fsdecode(re.sub(rb"^(\./+)+", b"", name))
    return ManifestEntry(path, digest.decode().lower(), _refusal(path))


def _refusal(path: str) -> str:
    """Return why a file of this name is not fetched; empty if it may be fetched."""
    parts = path.split("/")
    if path.startswith("/") or ".." in parts or re.match(r"[A-Za-z][A-Za-z0-9+.-]*:/", path):
        return "would lie outside of the source"
    if "" in parts or "." in parts or "\0" in path or len(os.fsencode(path)) > NAME:
        return "has a name that no file can have"
    return ""
