"""URLs that files are fetched from: of HTTP, plain or encrypted, and of nobody in particular."""

from __future__ import annotations

import os
import re
from urllib.parse import quote, unquote_to_bytes, urljoin

from urllib3.exceptions import LocationParseError
from urllib3.util import parse_url

_SCHEMES = ("http", "https")
_LONGEST = 8192
"""Characters; servers take no more."""


class BadUrl(ValueError):
    """A URL that nothing is fetched from; says why."""


def has_scheme(name: str) -> bool:
    """Whether a name is, or is meant to be, a URL."""
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", name) is not None


def is_url(name: str) -> bool:
    """Whether an absolute name is a URL: those of files begin with a slash."""
    return name.startswith(("http://", "https://"))


def checked(url: str) -> str:
    """Return a URL in its normal form, without a fragment. Raises BadUrl."""
    try:
        parsed = parse_url(url)
    except LocationParseError:
        raise BadUrl("is no URL") from None
    if parsed.scheme not in _SCHEMES:
        raise BadUrl(f"has the scheme {parsed.scheme!r}; only http and https are fetched from")
    if parsed.auth is not None:
        # And on its pages, and in logs; left out, they would be missing when content is fetched
        # again.
        raise BadUrl("has a user name or password in it, which would end in the index")
    if not parsed.host:
        raise BadUrl("names no host")
    normal = parsed._replace(fragment=None, path=parsed.path or "/").url
    if len(normal) > _LONGEST:
        raise BadUrl(f"is longer than {_LONGEST} characters")
    return normal


def redirected(url: str, location: str | None) -> str:
    """Return where a redirect from ``url`` leads. Raises BadUrl."""
    if not location:
        raise BadUrl("is redirected nowhere")
    try:
        target = checked(urljoin(url, _as_meant(location)))
    except ValueError as error:
        raise BadUrl(f"is redirected to what {error}") from None
    if url.startswith("https:") and not target.startswith("https:"):
        raise BadUrl("is redirected from https to http, where anybody may alter it")
    return target


def _as_meant(location: str) -> str:
    """Return a header's value, in which bytes stand as letters of Latin-1, as text: servers send
    paths in UTF-8 as they are. Other bytes are escaped."""
    raw = location.encode("latin-1", "replace")
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return "".join(chr(byte) if byte < 0x80 else f"%{byte:02X}" for byte in raw)


def name_in(url: str) -> str:
    """Return the name, as in the file system, of the file that a URL stands for. Raises
    BadUrl."""
    path = parse_url(url).path or ""
    name = os.fsdecode(unquote_to_bytes(path.rpartition("/")[2]))
    if name in ("", ".", "..") or "/" in name or "\0" in name:
        raise BadUrl("names no file: give the URL of a file, or of a manifest such as SHA256SUMS")
    return name


def beside(url: str, name: str) -> str:
    """Return the URL of a file that lies beside, or below, that of ``url``, by its name in the
    file system. Raises BadUrl."""
    folder = parse_url(url)._replace(query=None, fragment=None).url.rpartition("/")[0]
    return checked(f"{folder}/{quote(os.fsencode(name))}")


def shown(url: str) -> str:
    """Return a URL as it may be said to anybody: without what may be a password."""
    return re.sub(r"(?<=://)[^/?#]*@", "…@", url)
