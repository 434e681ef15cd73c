"""Versions of a URL's content, as text for a row of the index.

There are four kinds: a digest of a manifest (``sha256:…``, ``md5:…``), an entity tag, a date of
modification, and, if a server sends none of these, the time of fetching (``fetched:…``).
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping

_DIGEST = re.compile(r"(sha\d+|md5|blake2b):[0-9a-f]+")
_MOMENT = "fetched:"
_LONGEST = 255
"""The most characters of a version in the index."""

Headers = Mapping[str, str]
"""Of an answer, with names in lower case."""


def of_digest(digest: str, kind: str = "sha256") -> str:
    """Return the version of a digest in hexadecimal, as a manifest has it. ``kind``: its name in
    `hashlib`."""
    return f"{kind}:{digest.lower()}"


def of_answer(headers: Headers) -> str:
    """Return the version in a server's answer."""
    return _validator(headers) or f"{_MOMENT}{time.time_ns()}"


def digest_of(version: str) -> tuple[str, str] | None:
    """Return the kind and the hexadecimal digest of a version's content; None if it is not
    known."""
    kind, _, digest = version.partition(":")
    return (kind, digest) if _DIGEST.fullmatch(version) else None


def is_of(version: str, headers: Headers) -> bool:
    """Whether an answer may be of this version. A digest can be compared only at the end."""
    known = digest_of(version) is not None or version.startswith(_MOMENT)
    return known or version == _validator(headers)


def conditions(version: str) -> dict[str, str]:
    """Return the headers that ask for the content only if it has another version."""
    if digest_of(version) is not None or version.startswith(_MOMENT):
        return {}
    if _is_tag(version):
        return {"If-None-Match": version}
    return {"If-Modified-Since": version}


def strong_tag(headers: Headers) -> str | None:
    """Return the entity tag of an answer if it is strong, so that parts of the content can be
    joined (RFC 9110, section 8.8.1). Weak tags and dates may be equal for different contents."""
    tag = headers.get("etag", "")
    return tag if tag.startswith('"') and len(tag) <= _LONGEST else None


def _validator(headers: Headers) -> str:
    tag, date = headers.get("etag", ""), headers.get("last-modified", "")
    for value in (tag if _is_tag(tag) else "", date):
        if 0 < len(value) <= _LONGEST and value.isprintable():
            return value
    return ""


def _is_tag(value: str) -> bool:
    return value.startswith(('"', 'W/"'))
