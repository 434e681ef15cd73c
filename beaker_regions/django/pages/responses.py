"""Responses as they are stored, and the responses that are made from them."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseNotModified
from django.utils.cache import add_never_cache_headers, patch_cache_control, patch_vary_headers
from django.utils.http import http_date, parse_etags, parse_http_date_safe

from beaker_regions.django.pages.origin import from_cache, loaded
from beaker_regions.django.pages.placeholders import Filling, Pieces, join
from beaker_regions.engine.reads import Dependency

CREDENTIALS = ("cookie", "authorization")
"""Header fields that identify the visitor."""
_COMMAS = re.compile(r"\s*,\s*")
_UNMODIFIED = ("Cache-Control", "Content-Location", "ETag", "Expires", "Last-Modified", "Vary")
"""Header fields that a 304 has in common with the 200 (RFC 9110, section 15.4.5)."""


class Page(NamedTuple):
    """A response as it is stored."""

    headers: tuple[tuple[str, str], ...]
    charset: str
    pieces: Pieces
    vary: tuple[tuple[str, str | None], ...]
    """The header fields that the response varies on: their keys in META, and the values that the
    page was made for."""
    digest: str
    """Of the content without its placeholders."""
    made_at: float
    """Seconds since the epoch."""
    shared: bool
    """Whether all visitors get the same content, so that its date identifies it."""
    load_seconds: float
    """How long the view took."""
    details: str
    """What its origin shows of its load; empty if it does not show its origin."""
    dependencies: tuple[Dependency, ...]
    without_messages: tuple[tuple[str, Pieces], ...]
    """The texts of placeholders while there are no messages, by name."""


def page_from(
    request: HttpRequest,
    response: HttpResponse,
    pieces: Pieces,
    dependencies: Iterable[Dependency],
    vary_by: object,
    max_age: float | None,
    load_seconds: float,
    details: str,
    without_messages: Mapping[str, Callable[[str], Pieces]],
) -> Page:
    """Return the page to store for a response."""
    shared = vary_by is None and not pieces.placeholders
    if "Cache-Control" not in response:
        if max_age is None:
            add_never_cache_headers(response)
        elif max_age:
            patch_cache_control(response, max_age=int(max_age))
        else:
            # A browser asks each time it opens the page; mostly its copy is current.
            patch_cache_control(response, no_cache=True)
    if not shared:
        patch_cache_control(response, private=True)
        patch_vary_headers(response, ("Cookie",))
        del response.headers["ETag"]
        del response.headers["Last-Modified"]
    digest = hashlib.blake2b(repr(pieces).encode(), digest_size=16)
    vary = sorted(varies_on(response) - set(CREDENTIALS))
    return Page(
        tuple((name, value) for name, value in response.items() if name != "Content-Length"),
        response.charset,
        pieces,
        tuple((key, request.META.get(key)) for key in map(_meta_key, vary)),
        digest.hexdigest(),
        time.time(),
        shared,
        load_seconds,
        details,
        tuple(dependencies),
        tuple([(name, text(response.charset)) for name, text in without_messages.items()]),
    )


def filling_of(
    request: HttpRequest, page: Page, asked_at: float, *, is_new: bool
) -> Filling | None:
    """Return the content for a page's placeholders, for one request that came at ``asked_at``
    (seconds since the epoch); None if it has no placeholders. ``is_new``: this request has loaded
    the page."""

    def origin() -> bytes:
        if is_new:
            return loaded(page.load_seconds, page.details)
        return from_cache(page.made_at, page.load_seconds, asked_at, page.details)

    if not page.pieces.placeholders:
        return None
    return Filling(request, page.pieces, page.charset, origin, page.without_messages)


def response_from(request: HttpRequest, page: Page, filling: Filling | None) -> HttpResponse:
    """Return the response to one request for a stored page, with its `filling_of`."""
    headers = dict(page.headers)
    age = max(0.0, time.time() - page.made_at)
    headers["Age"] = str(int(age))
    if filling is not None:
        # Weak (RFC 9110, section 8.8.1): the masks of the tokens differ at each response.
        headers["ETag"] = f'W/"{_digest(page.digest, filling.identity())}"'
    elif "ETag" not in headers:
        headers["ETag"] = f'"{page.digest}"'
    if page.shared and age >= 1 and "Last-Modified" not in headers:
        # There may have been another page within the same second.
        headers["Last-Modified"] = http_date(page.made_at)
    if _is_unmodified(request, headers):
        unmodified = HttpResponseNotModified()
        for name in _UNMODIFIED:
            if name in headers:
                unmodified[name] = headers[name]
        return unmodified
    content = join(page.pieces, {}) if filling is None else filling.content()
    response = HttpResponse(content, headers=headers)
    response.charset = page.charset
    return response


def _is_unmodified(request: HttpRequest, headers: dict[str, str]) -> bool:
    known = request.META.get("HTTP_IF_NONE_MATCH")
    if known is not None:
        tags = [tag.removeprefix("W/") for tag in parse_etags(known)]
        return "*" in tags or headers["ETag"].removeprefix("W/") in tags
    since = request.META.get("HTTP_IF_MODIFIED_SINCE")
    if since is None or "Last-Modified" not in headers:
        return False
    # Only an equal date: a host with a slow clock may have made the later page.
    return parse_http_date_safe(since) == parse_http_date_safe(headers["Last-Modified"])


def _digest(digest: str, parts: Iterable[bytes]) -> str:
    mixed = hashlib.blake2b(digest.encode(), digest_size=16)
    for part in parts:
        mixed.update(b"%d:%b" % (len(part), part))
    return mixed.hexdigest()


def varies_on(response: HttpResponseBase) -> set[str]:
    return {name for name in _COMMAS.split(response.get("Vary", "").lower().strip()) if name}


def _meta_key(field: str) -> str:
    key = field.upper().replace("-", "_")
    return key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}"
