"""One request. It follows redirects, and turns errors into readable ones."""

from __future__ import annotations

import re
import ssl
import time
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    LocationValueError,
    NameResolutionError,
    NewConnectionError,
    ProxyError,
)

from tasks.sources.fetching.connections import (
    CONNECT_SECONDS,
    READ_SECONDS,
    PrivateAddressError,
    ask,
)
from tasks.sources.fetching.messages import BrokenAnswerError
from tasks.sources.fetching.patience import SLOW_SECONDS, patience
from tasks.sources.fetching.urls import BadUrlError, checked, is_folder, is_gzip, redirected
from tasks.sources.pace import at_once

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tasks.sources.fetching.messages import Answer

REDIRECTS = 10
CHUNK = 1024 * 1024
"""The most bytes that are read at a time."""
_SHORT = 64 * 1024
"""Bytes. An unused body of at most this size is read, to keep its connection."""
_REDIRECT = {301, 302, 303, 307, 308}
_WANTED = {200, 206, 304, 416}
_TEMPORARY = {408, 425, 429, 500, 502, 503, 504}


class FetchError(OSError):
    """A URL that could not be fetched."""


class TemporaryError(FetchError):
    """A URL that could not be fetched. Another try may succeed."""

    def __init__(self, reason: str, after: float | None = None) -> None:
        super().__init__(reason)
        self.after = after
        """Seconds to wait, if the server has named a time."""


class SlowError(TemporaryError):
    """A transfer that is slower than it should be."""


def get(url: str, headers: Mapping[str, str]) -> Answer:
    """Ask for a URL, and return the answer, to be read and closed: 200, or 206, 304 or 416 as the
    headers ask for. Raises TemporaryError, and FetchError for what another try would not change."""
    return _get("GET", url, headers)


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


def _get(method: str, url: str, headers: Mapping[str, str]) -> Answer:
    try:
        target, public = checked(url), False
        for _ in range(REDIRECTS + 1):
            response, here = _request(method, target, headers, url, public=public)
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
    try:
        while True:
            started = time.monotonic()
            chunk = response.read(at_once(CHUNK))
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
    except SlowError:
        raise
    except OSError as error:
        raise TemporaryError(_reason(error)) from error


def length_of(response: Answer) -> int | None:
    """Return the size of the content in bytes, if the answer has it."""
    return number(response.headers.get("content-length", ""))


def number(text: str) -> int | None:
    """Return a number that a server has sent; None if it is none or has more than 18 digits.
    (Python does not convert thousands of digits.)"""
    return int(text) if re.fullmatch(r"[0-9]{1,18}", text) else None


def discard(response: Answer) -> None:
    """Close an answer without using its body."""
    try:
        # A short rest is read, to keep the connection.
        while response.left is not None and response.left <= _SHORT and response.read(_SHORT):
            pass
    except OSError:
        pass
    response.close()


def _request(
    method: str, url: str, headers: Mapping[str, str], asked: str, *, public: bool
) -> tuple[Answer, bool]:
    try:
        return ask(method, url, headers, asked=asked, public=public)
    except PrivateAddressError:
        raise FetchError(
            "is redirected from a public address to a private one, where this host may read what "
            "others may not; give that URL itself to import it"
        ) from None
    except (ssl.SSLError, LocationValueError) as error:
        raise FetchError(_reason(error)) from error
    except (HTTPError, OSError) as error:
        raise TemporaryError(_reason(error)) from error


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


def _reason(error: BaseException) -> str:
    """Return a readable reason, in the system's words if it has some."""
    if isinstance(error, ProxyError):
        return f"the proxy that the environment names: {_reason(error.original_error)}"
    if isinstance(error, TimeoutError) and error.errno is None:
        return f"no byte arrived for {READ_SECONDS:.0f} s"
    if isinstance(error, ConnectTimeoutError) and not isinstance(error, NewConnectionError):
        return f"no connection within {CONNECT_SECONDS:.0f} s"
    if isinstance(error, BrokenAnswerError):
        return str(error)
    if isinstance(error, NameResolutionError):
        return "the host is not known"
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
        cause = cause.__cause__ or cause.__context__
    return f"the connection broke: {error}"
