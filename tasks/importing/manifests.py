"""Manifests: lists of files and their digests, as sha256sum, md5sum and their like, shasum, openssl
and release tools write them. A manifest may be signed in the clear; the signature is not checked.
"""

from __future__ import annotations

import codecs
import io
import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from beakercache import cache
from tasks.files.content import path_of
from tasks.importing.sources import Skipped
from tasks.sources import versions
from tasks.sources.archives.limits import NAME
from tasks.sources.fetching.downloads import text_of
from tasks.sources.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_NAME = re.compile(
    # SHA256SUMS, md5sum.txt, x.sha512sums
    r"(.*[._-])?(sha-?(1|224|256|384|512)?|md5|b2)sums?([._-].*)?"
    # checksums.txt, tool_1.2_checksums.txt, Fedora-40-x86_64-CHECKSUM
    r"|(.*[._-])?checksums?([._-](sha|md5).*|\.(txt|asc))*"
    # x.tar.gz.sha256, all.sha512.txt
    r"|.*\.(sha-?(1|224|256|384|512)|md5)(\.(txt|asc))?",
    re.IGNORECASE,
)
_ALONE = re.compile(r"(.+)\.(sha-?(1|224|256|384|512)|md5)(sum)?(\.(txt|asc))?", re.IGNORECASE)
"""The name of a manifest of one file, which is named in it."""
_SIGNATURES = (".gpg", ".sig", ".sign", ".minisig", ".pem", ".crt", ".sigstore")
LARGEST = 64 * 1024 * 1024
"""The largest manifest, in bytes; it is held in memory."""
_LINE = re.compile(rb"(\\?)([0-9A-Fa-f]{32,128}) [ *](.+)", re.DOTALL)
_TAGGED = re.compile(rb"(\\?)([A-Za-z0-9/-]+) ?\((.+)\) ?= ?([0-9A-Fa-f]+)", re.DOTALL)
_BARE = re.compile(rb"([0-9A-Fa-f]{32,128})(?: [ *]-)?\s*")
_LENGTHS = {32: "md5", 40: "sha1", 56: "sha224", 64: "sha256", 96: "sha384", 128: "sha512"}
"""Kinds of digests by their number of hexadecimal digits."""
_KINDS = ("sha256", "sha512", "sha384", "blake2b", "sha224", "sha1", "md5")
"""If a file has several digests, the first of these kinds is taken."""
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
    """The digest of the content, in hexadecimal."""
    kind: str = "sha256"
    """The kind of digest, as `hashlib` names it."""
    refusal: str = ""
    """The reason not to fetch it; empty if it may be fetched."""


def is_manifest_name(name: str) -> bool:
    """Whether a file of this name is probably a manifest."""
    return _NAME.fullmatch(name) is not None and not name.lower().endswith(_SIGNATURES)


def entries_at(url: str, name: str) -> list[ManifestEntry]:
    """Return the entries of the manifest at a URL, whose file has this name. The server sends it
    only if it has changed since the last time. Raises BadManifestError, OSError."""
    return parse(_manifest.refresh(url, _manifest.peek(url)).text, name)


def entries_in(path: str) -> list[ManifestEntry]:
    """Return the entries of a manifest on disk. Raises BadManifestError, OSError."""
    with open(path, "rb") as file:
        text = file.read(LARGEST + 1)
    if len(text) > LARGEST:
        raise BadManifestError(f"is longer than {LARGEST} bytes")
    return parse(text, os.path.basename(path))


@cache.region("files", ignore=["stored"])
def _manifest(url: str, stored: Manifest | None = None) -> Manifest:
    conditions = {} if stored is None else versions.conditions(stored.version)
    response, text = text_of(url, conditions, LARGEST, Progress())
    if stored is not None and response.status == 304:
        return stored
    return Manifest(versions.of_answer(response.headers), text)


def parse(text: bytes, name: str = "") -> list[ManifestEntry]:
    """Return the entries of a manifest. A digest without a name is that of the file for which the
    manifest is named. Raises BadManifestError if no line has a digest."""
    alone = _ALONE.fullmatch(name)
    entries: list[ManifestEntry] = []
    places: dict[str, int] = {}
    for line in _lines(_in_utf8(text)):
        entry = _parsed(line, name, alone[1] if alone else None)
        place = places.get(entry.name)
        if place is None or not (entry.digest or entries[place].digest):
            places.setdefault(entry.name, len(entries))
            entries.append(entry)
        elif not entry.digest or entry.kind != entries[place].kind:
            # Another digest of the same file.
            if entry.digest and (not entries[place].digest or _rank(entry) < _rank(entries[place])):
                entries[place] = entry
        else:
            entries.append(entry)
    if all(not entry.digest for entry in entries):
        raise BadManifestError(
            "is named like a manifest, but no line of it has a digest and a name, as sha256sum "
            "writes them (DIGEST  NAME); give --as-file to import it as a file"
        )
    return entries


def without_repeated(entries: Iterable[ManifestEntry]) -> Iterator[ManifestEntry | Skipped]:
    """Yield the entries whose files may be fetched, and the others as skipped. If a name occurs
    twice, the first is taken."""
    named = set()
    for entry in entries:
        path = path_of(entry.name)
        if entry.refusal:
            yield Skipped(path, entry.refusal)
        elif path in named:
            yield Skipped(path, "is in the manifest more than once; the first is taken")
        else:
            named.add(path)
            yield entry


def _rank(entry: ManifestEntry) -> int:
    return _KINDS.index(entry.kind)


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


def _parsed(line: bytes, manifest: str, alone: str | None) -> ManifestEntry:
    """Return the entry of a line. ``alone``: the file for which the manifest is named."""
    if match := _LINE.fullmatch(line):
        mark, digest, name = match.groups()
        kind = _kind(manifest, digest)
        if alone is not None and os.fsdecode(name.strip()) == "-":
            mark, name = b"", os.fsencode(alone)
    elif match := _TAGGED.fullmatch(line):
        mark, tag, name, digest = match.groups()
        kind = _kind(tag.decode(), digest)
    elif alone is not None and (match := _BARE.fullmatch(line)):
        mark, digest, name = b"", match[1], os.fsencode(alone)
        kind = _kind(manifest, digest)
    else:
        return ManifestEntry(os.fsdecode(line[:80]), refusal="is not a line of a manifest")
    if mark:
        name = re.sub(rb"\\[\\nr]", lambda escape: _ESCAPES[escape[0]], name)
    # Most manifests are made from the output of "find . -type f".
    path = os.fsdecode(re.sub(rb"^(\./+)+", b"", name))
    if alone is not None and path.rpartition("/")[2] == alone:
        path = alone  # it names the folder in which the file was made
    if kind is None:
        return ManifestEntry(path, refusal="has no digest of a kind that is known")
    return ManifestEntry(path, digest.decode().lower(), kind, _refusal(path))


def _kind(named: str, digest: bytes) -> str | None:
    """Return the kind of a digest, by its length and by what names it."""
    kind = _LENGTHS.get(len(digest))
    lower = named.lower()
    if kind == "sha512" and ("b2" in lower or "blake2" in lower):
        return "blake2b"
    other = lower.startswith(("sha3-", "sha512-2", "sm3", "blake", "rmd", "ripemd"))
    return None if other or "/" in lower else kind


def _refusal(path: str) -> str:
    """Return why a file of this name is not fetched; empty if it may be fetched."""
    parts = path.split("/")
    if path.startswith("/") or ".." in parts or re.match(r"[A-Za-z][A-Za-z0-9+.-]*:/", path):
        return "would lie outside of the source"
    if "" in parts or "." in parts or "\0" in path or len(os.fsencode(path)) > NAME:
        return "has a name that no file can have"
    return ""
