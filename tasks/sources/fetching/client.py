"""One request. It follows redirects, and turns errors into readable ones."""

from __future__ import annotations

import re
import time
from contextlib import suppress
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import TYPE_CHECKING

from tasks.sources.fetching.connections import Request
from tasks.sources.fetching.errors import FetchError, SlowError, TemporaryError
from tasks.sources.fetching.patience import SLOW_SECONDS, patience
from tasks.sources.fetching.urls import BadUrlError, checked, is_folder, is_gzip, redirected

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tasks.sources.fetching.answers import Answer

REDIRECTS = 10
_SHORT = 64 * 1024
"""Bytes. An unused body of at most this size is read, to keep its connection."""
_REDIRECT = {301, 302, 303, 307, 308}
_WANTED = {200, 206, 304, 416}
_TEMPORARY = {408, 425, 429, 500, 502, 503, 504}


def get(url: str, headers: Mapping[str, str], begun: Request | None = None) -> Answer:
    """Ask for a URL, and return the answer, to be read and closed: 200, or 206, 304 or 416 as the
    headers ask for. ``begun``: the request, if it was sent already (`begin`). Raises
    TemporaryError, and FetchError for what another try would not change."""
    return _get("GET", url, headers, begun)


def begin(url: str) -> Request:
    """Send the request of `get`, without headers, and do not wait. Raises FetchError."""
    try:
        return Request("GET", checked(url), {}, asked=url, public=False)
    except BadUrlError as error:
        raise FetchError(str(error)) from None


def describe(url: str, headers: Mapping[str, str]) -> Answer:
    """Return the answer of `get` without its content, closed. Raises the same errors."""
    try:
        response = _get("HEAD", url, headers)
    except TemporaryError:
        raise
    except FetchError:
        # Some servers answer only GET.
        response = _get("GET", url, headers)
    discard(response)
    return response


def _get(method: str, url: str, headers: Mapping[str, str], begun: Request | None = None) -> Answer:
    try:
        target, public = checked(url), False
        for _ in range(REDIRECTS + 1):
            request = begun or Request(method, target, headers, asked=url, public=public)
            begun = None
            response, here = request.answer()
            public = public or here
            if response.status not in _REDIRECT:
                return _judged(response, url, target)
            location = response.headers.get("location")
            discard(response)
            target = redirected(target, location)
    except BadUrlError as error:
        raise FetchError(str(error)) from None
    raise FetchError(f"is redirected more than {REDIRECTS} times")


def body(response: Answer) -> Iterator[bytes]:
    """Yield the content of an answer in chunks as they arrive. Raises TemporaryError if the
    transfer breaks off, SlowError if it is too slow."""
    size, seconds = 0, 0.0
    while True:
        started = time.monotonic()
        chunk = response.read()
        # The time in which the chunk is used does not count.
        seconds += time.monotonic() - started
        size += len(chunk)
        if not chunk:
            return
        yield chunk
        if seconds > SLOW_SECONDS:
            if size < patience().slowest * seconds:
                raise SlowError(f"sent {size} bytes in {seconds:.0f} s, which is too slow")
            size, seconds = 0, 0.0


def length_of(response: Answer) -> int | None:
    """Return the size of the content in bytes, if the answer has it."""
    return number(response.headers.get("content-length", ""))


def number(text: str) -> int | None:
    """Return a number that a server has sent; None if it is none or has more than 18 digits.
    (Python does not convert thousands of digits.)"""
    return int(text) if re.fullmatch(r"[0-9]{1,18}", text) else None


def discard(response: Answer) -> None:
    """Close an answer without using its body."""
    with suppress(FetchError):
        # A short rest is read, to keep the connection.
        if (length_of(response) or 0) <= _SHORT:
            size = 0
            for chunk in body(response):
                size += len(chunk)
                if size > _SHORT:
                    break
    response.close()


def _judged(response: Answer, url: str, target: str) -> Answer:
    status = response.status
    if status in (200, 206) and is_folder(target) and not is_folder(url):
        response.close()
        raise FetchError("is a folder of its server; give the URL of a file or of a manifest")
    if status in _WANTED:
        encoding = response.headers.get("content-encoding", "identity").lower()
        # Old servers say of a .tgz that its content is encoded. What they send is the file.
        is_packed = encoding in ("gzip", "x-gzip") and is_gzip(url)
        if status in (200, 206) and encoding != "identity" and not is_packed:
            response.close()
            raise FetchError(f"comes encoded ({encoding}), which was not asked for")
        return response
    discard(response)
    reason = f"{status} {response.reason}".strip()
    if status == HTTPStatus.UNAUTHORIZED:
        reason += "; give the import a login with --netrc, or a token with --headers"
    if status in _TEMPORARY:
        raise TemporaryError(reason, _retry_after(response.headers.get("retry-after", "")))
    raise FetchError(reason)


def _retry_after(value: str) -> float | None:
    """Return the seconds of a Retry-After header, which may also be a date."""
    if (seconds := number(value.strip())) is not None:
        return float(seconds)
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, OverflowError):
        return None
