"""Manifests: lists of files and their SHA-256 digests, as the commands sha256sum (also with
``--tag``), sha256 and openssl write them; signed in the clear or not. Signatures are not looked at.
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
"""Bytes of a manifest, which is held in memory."""
_LINE = re.compile(rb"(\\?)([0-9A-Fa-f]{64}) [ *](.+)", re.DOTALL)
_TAGGED = re.compile(rb"(\\?)SHA(?:2-)?256 ?\((.+)\) ?= ?([0-9A-Fa-f]{64})", re.DOTALL)
_OTHER = re.compile(rb"\\?[A-Z0-9/-]+ ?\(.+\) ?= ?[0-9A-Fa-f]+", re.DOTALL)
"""A line with a digest of another kind, beside which the file has one of ours."""
_SIGNED = b"-----BEGIN PGP SIGNED MESSAGE-----"
_SIGNATURE = b"-----BEGIN PGP SIGNATURE-----"
_ESCAPES = {b"\\\\": b"\\", b"\\n": b"\n", b"\\r": b"\r"}


class BadManifestError(ValueError):
    """A file that is named like a manifest, and is none."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """A manifest as a server has sent it."""

    version: str
    text: bytes


@dataclass(frozen=True, slots=True)
class ManifestEntry:
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


def lines_at(url: str) -> list[ManifestEntry]:
    """Return what the manifest at a URL lists. It is sent only when it is not as it was the last
    time. Raises BadManifestError, OSError."""
    return parse(_manifest.refresh(url, _manifest.peek(url)).text)


@cache.region("files", ignore=["held"])
def _manifest(url: str, held: Manifest | None = None) -> Manifest:
    conditions = {} if held is None else versions.conditions(held.version)
    response, text = text_of(url, conditions, _LARGEST, TRIES, Progress())
    if held is not None and response.status == 304:
        return held
    return Manifest(versions.of_answer(response.headers), text)


def parse(text: bytes) -> list[ManifestEntry]:
    """Return the lines of a manifest. Raises BadManifestError when there is not one."""
    lines = [line for line in map(_parsed, _lines(_in_utf8(text))) if line is not None]
    if all(not line.digest for line in lines):
        raise BadManifestError(
            "is named like a manifest, and no line of it has a SHA-256 and a name, as sha256sum "
            "writes them (DIGEST  NAME)"
        )
    return lines


def _in_utf8(text: bytes) -> bytes:
    """Return a text without its mark, in UTF-8: PowerShell writes UTF-16."""
    if text.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        try:
            return text.decode("utf-16").encode("utf-8", "surrogatepass")
        except UnicodeDecodeError as error:
            raise BadManifestError("is named like a manifest, and is damaged UTF-16") from error
    return text.removeprefix(codecs.BOM_UTF8)


def _lines(text: bytes) -> Iterator[bytes]:
    """Yield the lines that count; of a signed text, those that are signed."""
    lines = (line.removesuffix(b"\n").removesuffix(b"\r") for line in io.BytesIO(text))
    signed = False
    for line in lines:
        if line.rstrip() == _SIGNED:
            signed = True
            # Its headers, up to an empty line.
            while next(lines, b"").strip():
                pass
        elif signed and line.rstrip() == _SIGNATURE:
            return
        elif line and not line.startswith(b"#"):
            yield line.removeprefix(b"- ") if signed else line


def _parsed(line: bytes) -> ManifestEntry | None:
    """Return what a line says; None when it is about a digest of another kind."""
    if match := _LINE.fullmatch(line):
        mark, digest, name = match.groups()
    elif match := _TAGGED.fullmatch(line):
        mark, name, digest = match.groups()
    elif _OTHER.fullmatch(line):
        return None
    else:
        return ManifestEntry(os.fsdecode(line[:80]), refusal="is no line of a manifest")
    if mark:
        name = re.sub(rb"\\[\\nr]", lambda escape: _ESCAPES[escape[0]], name)
    # As "find . -type f" names files, which most manifests are made of.
    path = os.fsdecode(re.sub(rb"^(\./+)+", b"", name))
    return ManifestEntry(path, digest.decode().lower(), _refusal(path))


def _refusal(path: str) -> str:
    """Return why a name is not even looked at; empty for what may be fetched."""
    parts = path.split("/")
    if path.startswith("/") or ".." in parts or re.match(r"[A-Za-z][A-Za-z0-9+.-]*:/", path):
        return "would lie outside of the source"
    if "" in parts or "." in parts or "\0" in path or len(os.fsencode(path)) > NAME:
        return "has a name that no file can have"
    return ""
