"""One request: connections are kept and shared by threads, redirects followed, errors named."""

from __future__ import annotations

import os
import time
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

import urllib3
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    LocationValueError,
    NameResolutionError,
    NewConnectionError,
    ReadTimeoutError,
    SSLError,
)

from tasks.fetching.urls import BadUrl, checked, redirected

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from urllib3 import BaseHTTPResponse

CONNECT_SECONDS = 10.0
READ_SECONDS = 30.0
"""Seconds without a byte after which a server counts as away."""
REDIRECTS = 10
CHUNK = 1024 * 1024
"""Bytes read at a time, at the most."""
_CONNECTIONS = 64
"""Kept open to one host: as many as there may be downloads at once."""
_SHORT = 64 * 1024
"""Bytes; a body that nobody wants is read when it is no longer, to keep its connection."""
_REDIRECT = {301, 302, 303, 307, 308}
_WANTED = {200, 206, 304, 416}
_TEMPORARY = {408, 425, 429, 500, 502, 503, 504}


class FetchError(OSError):
    """A URL that could not be fetched."""


class Temporary(FetchError):
    """One that may be to be had at another try."""

    def __init__(self, reason: str, after: float | None = None) -> None:
        super().__init__(reason)
        self.after = after
        """Seconds to wait, as the server has said."""


class _Pool:
    """The connections of this process: a child makes its own."""

    def __init__(self) -> None:
        self.reset()
        os.register_at_fork(after_in_child=self.reset)

    def reset(self) -> None:
        self.manager = urllib3.PoolManager(
            maxsize=_CONNECTIONS,
            timeout=urllib3.Timeout(connect=CONNECT_SECONDS, read=READ_SECONDS),
            retries=False,
            # The content as it is: it is that which has a digest, and of which parts can be had.
            headers={"Accept-Encoding": "identity", "User-Agent": "regions-import"},
        )


_pool = _Pool()


def get(url: str, headers: Mapping[str, str]) -> BaseHTTPResponse:
    """Ask for a URL, and return the answer, to be read and closed: 200, or 206, 304 or 416 as the
    headers ask for. Raises Temporary, and FetchError for what another try would not change."""
    try:
        target = checked(url)
        for _ in range(REDIRECTS + 1):
            response = _request(target, headers)
            if response.status not in _REDIRECT:
                return _judged(response)
            location = response.headers.get("Location")
            discard(response)
            target = redirected(target, location)
    except BadUrl as error:
        raise FetchError(str(error)) from None
    raise FetchError(f"is redirected more than {REDIRECTS} times")


def body(response: BaseHTTPResponse) -> Iterator[bytes]:
    """Yield the content of an answer in chunks as they come. Raises Temporary when it breaks
    off."""
    try:
        while chunk := response.read1(CHUNK, decode_content=False):
            yield chunk
    except (HTTPError, OSError) as error:
        raise Temporary(_reason(error)) from error


def discard(response: BaseHTTPResponse) -> None:
    """Let go of an answer that nobody wants to read."""
    length = response.headers.get("Content-Length", "")
    if length.isdecimal() and int(length) <= _SHORT:
        try:
            response.drain_conn()
        except (HTTPError, OSError):
            response.close()
    else:
        response.close()


def _request(url: str, headers: Mapping[str, str]) -> BaseHTTPResponse:
    try:
        return _pool.manager.request(
            "GET",
            url,
            headers={**_pool.manager.headers, **headers},
            redirect=False,
            preload_content=False,
            decode_content=False,
        )
    except (SSLError, LocationValueError) as error:
        raise FetchError(_reason(error)) from error
    except (HTTPError, OSError) as error:
        raise Temporary(_reason(error)) from error


def _judged(response: BaseHTTPResponse) -> BaseHTTPResponse:
    status = response.status
    if status in _WANTED:
        encoding = response.headers.get("Content-Encoding", "identity").lower()
        if status in (200, 206) and encoding != "identity":
            response.close()
            raise FetchError(f"comes encoded ({encoding}), which was not asked for")
        return response
    discard(response)
    reason = f"{status} {response.reason or ''}".strip()
    if status in _TEMPORARY:
        raise Temporary(reason, _retry_after(response.headers.get("Retry-After", "")))
    raise FetchError(reason)


def _retry_after(value: str) -> float | None:
    """Return the seconds that a server wants to be left alone; it may say so by a date."""
    if value.strip().isdecimal():
        return float(value)
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, OverflowError):
        return None


def _reason(error: BaseException) -> str:
    """Return what went wrong in the words of the system, where it has some."""
    if isinstance(error, ReadTimeoutError):
        return f"nothing came for {READ_SECONDS:.0f} s"
    if isinstance(error, ConnectTimeoutError) and not isinstance(error, NewConnectionError):
        return f"no connection within {CONNECT_SECONDS:.0f} s"
    if isinstance(error, NameResolutionError):
        return "the host is not known"
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
        cause = cause.__cause__ or cause.__context__
    return f"the connection broke: {error}"
