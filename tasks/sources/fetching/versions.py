"""Versions of what a URL stands for, as text that a row of the index keeps.

There are four kinds: the SHA-256 that a manifest has (``sha256:…``), an entity tag, a date of
modification, and, where a server says nothing of that, the moment of fetching (``fetched:…``).
"""

from __future__ import annotations

import time
from collections.abc import Mapping

_DIGEST = "sha256:"
_MOMENT = "fetched:"
_LONGEST = 255
"""Characters of a version, as the index takes them."""

Headers = Mapping[str, str]


def of_digest(digest: str) -> str:
    """Return the version that a manifest means by a SHA-256 in hexadecimal."""
    return _DIGEST + digest.lower()


def of_answer(headers: Headers) -> str:
    """Return the version that a server has sent."""
    return _validator(headers) or f"{_MOMENT}{time.time_ns()}"


def digest_of(version: str) -> str | None:
    """Return the SHA-256 that the content of a version has; None where that is not known."""
    return version.removeprefix(_DIGEST) if version.startswith(_DIGEST) else None


def is_of(version: str, headers: Headers) -> bool:
    """Whether what a server sends may be of this version. A digest tells only at the end."""
    return version.startswith((_DIGEST, _MOMENT)) or version == _validator(headers)


def conditions(version: str) -> dict[str, str]:
    """Return the headers that ask for content only if it is of another version."""
    if version.startswith((_DIGEST, _MOMENT)):
        return {}
    if _is_tag(version):
        return {"If-None-Match": version}
    return {"If-Modified-Since": version}


def strong_tag(headers: Headers) -> str | None:
    """Return the entity tag of an answer, if parts of its content may be put together by it
    (RFC 9110, section 8.8.1): weak ones, and dates, are the same for contents that differ."""
    tag = headers.get("ETag", "")
    return tag if tag.startswith('"') and len(tag) <= _LONGEST else None


def _validator(headers: Headers) -> str:
    tag, date = headers.get("ETag", ""), headers.get("Last-Modified", "")
    for value in (tag if _is_tag(tag) else "", date):
        if 0 < len(value) <= _LONGEST and value.isprintable():
            return value
    return ""


def _is_tag(value: str) -> bool:
    return value.startswith(('"', 'W/"'))
