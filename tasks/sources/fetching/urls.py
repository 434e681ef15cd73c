"""URLs that files are fetched from: http or https, without a user name or password."""

from __future__ import annotations

import functools
import os
import re
from typing import NamedTuple
from urllib.parse import parse_qsl, quote, unquote_to_bytes, urljoin, urlsplit

PORTS = {"http": 80, "https": 443}
_SECRETS = {
    *("access_token", "api_key", "apikey", "auth", "auth_token", "awsaccesskeyid", "jwt"),
    *("key_pair_id", "password", "private_token", "secret", "sig", "signature", "token"),
}
"""Names in a query, in lower case, whose values are signatures or tokens."""
_LOGIN = re.compile(r"(?<=://)([^/?#]*|[^/?#@]*:(?!\d*/).*)@", re.DOTALL)
"""A login in a URL. One that has not been escaped, with a slash, say, ends at the last @."""
_SIGNED = re.compile(r"X-(Amz|Goog|Oss)-(Signature|Credential|Security-Token)", re.IGNORECASE)
_HOST = re.compile(r"[a-z0-9._~:%-]*")
_PLAIN = re.compile(r"[A-Za-z0-9/._-]*")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_LONGEST = 8192
"""Characters. Servers accept no more."""


class BadUrlError(ValueError):
    """A URL from which nothing is fetched. The message has the reason."""


class Url(NamedTuple):
    """The parts of a URL in its normal form."""

    text: str
    """The whole URL."""
    origin: str
    """The scheme, host and port."""
    scheme: str
    host: str
    """In lower case, without the brackets of an IPv6 address."""
    port: int
    path: str
    query: str


class _Server(NamedTuple):
    """The part of a URL before its path."""

    text: str
    origin: str
    scheme: str
    host: str
    port: int


@functools.lru_cache(1024)
def parsed_url(url: str) -> Url:
    """Return the parts of a URL, without its fragment. Raises BadUrlError."""
    if _CONTROL.search(url):
        raise BadUrlError("is no URL")
    front, _, query = url.partition("#")[0].partition("?")
    scheme, mark, rest = front.partition("://")
    host, _, path = rest.partition("/")
    server = _server(scheme + mark + host)
    path, query = _escaped(f"/{path}", "/"), _escaped(query, "/?")
    text = f"{server.text}{path}?{query}" if query else server.text + path
    if len(text) > _LONGEST:
        raise BadUrlError(f"is longer than {_LONGEST} characters")
    return Url(text, server.origin, server.scheme, server.host, server.port, path, query)


@functools.lru_cache(256)
def _server(url: str) -> _Server:
    """Return the parts of a URL that has no path. Raises BadUrlError."""
    try:
        parts = urlsplit(url)
        port, login = parts.port, parts.username
        host = (parts.hostname or "").encode("idna").decode()
    except ValueError:
        raise BadUrlError("is no URL") from None
    if not (parts.scheme and _HOST.fullmatch(host)):
        raise BadUrlError("is no URL")
    if parts.scheme not in PORTS:
        raise BadUrlError(f"has the scheme {parts.scheme!r}; only http and https are fetched from")
    if login is not None:
        # It would also be on pages and in logs. Without it, the file could not be fetched again.
        raise BadUrlError("has a user name or password in it, which would end in the index")
    if not host or ("%" in host and ":" not in host):
        # libcurl would take %6cocalhost for localhost. Only an IPv6 address may have a zone.
        raise BadUrlError("names no host")
    name = f"[{host}]" if ":" in host else host
    text = f"{parts.scheme}://{name}"
    origin = f"{text}:{port or PORTS[parts.scheme]}"
    text += "" if port is None else f":{port}"
    return _Server(text, origin, parts.scheme, host, port or PORTS[parts.scheme])


def checked(url: str) -> str:
    """Return a URL in its normal form, without a fragment. Raises BadUrlError."""
    return parsed_url(url).text


def _escaped(text: str, also: str) -> str:
    """Escape the characters that neither a path nor a query may have."""
    if _PLAIN.fullmatch(text):  # as nearly all are
        return text
    text = re.sub(r"%(?![0-9A-Fa-f]{2})", "%25", quote(os.fsencode(text), f"%:@!$&'()*+,;={also}"))
    return re.sub(r"%[0-9a-f]{2}", lambda escape: escape[0].upper(), text, flags=re.IGNORECASE)


_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


def has_scheme(name: str) -> bool:
    """Whether a name looks like a URL."""
    return _SCHEME.match(name) is not None


def is_url(name: str) -> bool:
    """Whether an absolute name is a URL. Names of files begin with a slash."""
    return name[:8].lower().startswith(("http://", "https://"))


_IN_ARCHIVE = "archive+"


def name_in_archive(url: str, path: str) -> str:
    """Return the absolute name of a file in the archive at a URL: ``archive+URL#PATH``."""
    return f"{_IN_ARCHIVE}{url}#{quote(os.fsencode(path))}"


def archive_and_path(name: str) -> tuple[str, str] | None:
    """Return the URL and the path of which `name_in_archive` made a name; None if it did not."""
    if not name.startswith(_IN_ARCHIVE):
        return None
    url, _, path = name.removeprefix(_IN_ARCHIVE).rpartition("#")
    return url, os.fsdecode(unquote_to_bytes(path))


def without_secrets(url: str) -> str:
    """Return a URL whose query has no signature or token. Raises BadUrlError."""
    for name, _ in parse_qsl(parsed_url(url).query, keep_blank_values=True):
        if name.lower().replace("-", "_") in _SECRETS or _SIGNED.fullmatch(name):
            raise BadUrlError(
                f"has a secret in its query ({name!r}), which would end in the index and on pages; "
                "give the URL without it, and the secret with --headers or --netrc"
            )
    return url


def redirected(url: str, location: str | None) -> str:
    """Return the target of a redirect from ``url``. Raises BadUrlError."""
    if not location:
        raise BadUrlError("is redirected without an address")
    try:
        target = checked(urljoin(url, _as_meant(location)))
    except ValueError as error:
        raise BadUrlError(f"is redirected to an address that {error}") from None
    if url.startswith("https:") and not target.startswith("https:"):
        raise BadUrlError("is redirected from https to http, where anybody may alter it")
    return target


def _as_meant(location: str) -> str:
    """Return a header's value as text. It is decoded as Latin-1, but servers send paths in UTF-8.
    Other bytes are escaped."""
    raw = location.encode("latin-1", "replace")
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return "".join(chr(byte) if byte < 0x80 else f"%{byte:02X}" for byte in raw)


def is_folder(url: str) -> bool:
    """Whether the path of a URL ends as that of a folder."""
    return parsed_url(url).path.endswith("/")


def is_gzip(url: str) -> bool:
    """Whether the path of a URL ends as that of a file that gzip has packed."""
    return parsed_url(url).path.lower().endswith((".gz", ".tgz", ".svgz"))


def name_in(url: str) -> str:
    """Return the file name of a URL, as in the file system. Raises BadUrlError."""
    path = parsed_url(url).path
    name = os.fsdecode(unquote_to_bytes(path.rpartition("/")[2]))
    if name in ("", ".", "..") or "/" in name or "\0" in name:
        raise BadUrlError(
            "names no file: give the URL of a file, or of a manifest such as SHA256SUMS"
        )
    return name


def beside(url: str, name: str) -> str:
    """Return the URL of a file beside that of ``url``, or below, by its name in the file system.
    Raises BadUrlError."""
    folder = parsed_url(url).text.partition("?")[0].rpartition("/")[0]
    return checked(f"{folder}/{quote(os.fsencode(name))}")


def shown(url: str) -> str:
    """Return a URL for messages, without a password, and without its query, which may be one."""
    return re.sub(r"[?#].*", "", _LOGIN.sub("…@", url), flags=re.DOTALL)
