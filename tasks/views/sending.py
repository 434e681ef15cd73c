"""Sends the content of imported files, whole or in part, or lets nginx send it."""

from __future__ import annotations

import asyncio
import unicodedata
from typing import TYPE_CHECKING
from urllib.parse import quote

from django.conf import settings
from django.core.handlers.asgi import ASGIRequest
from django.http import FileResponse, HttpRequest, HttpResponse, StreamingHttpResponse
from django.utils.cache import get_conditional_response
from django.utils.http import content_disposition_header, http_date
from django.views.decorators.http import require_safe

from beakercache import cache
from tasks.files.content import ContentUnavailableError, content_of
from tasks.files.downloads import downloads_of
from tasks.files.index import FileRow
from tasks.files.preview import IMAGES, charset_of
from tasks.views.files import content_unavailable, row_or_404
from tasks.views.ranges import UnsatisfiableRangeError, requested_range

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from io import BufferedReader

    from django.http.response import HttpResponseBase

    from beaker_regions import CachedFile

_SHOWN_ALONE = IMAGES - {"image/svg+xml"} | {"text/plain"}
"""Media types that a browser may show as a page of its own. Others may have active content."""
_POLICY = "sandbox; default-src 'none'; style-src 'unsafe-inline'"
"""A browser that shows content as a page may run nothing in it, and load nothing for it."""
_CHUNK = 256 * 1024
"""Bytes of a file that are in memory at a time, if neither the kernel nor nginx sends it."""
_NOT_FOR_NGINX = ("If-Match", "If-Unmodified-Since")
"""Headers that nginx would compare with its own ETag and time of the stored file, which differ."""


@require_safe
def download(request: HttpRequest, pk: int) -> HttpResponseBase:
    """Send a file that the browser saves. Count it if the whole or its beginning is sent."""
    file = row_or_404(pk)
    response = _send(request, file, inline=False)
    part = response.get("Content-Range", "bytes 0-")
    if request.method == "GET" and response.status_code in (200, 206) and "bytes 0-" in part:
        downloads_of(file.path).add()
    return response


@require_safe
def raw(request: HttpRequest, pk: int) -> HttpResponseBase:
    """Send a picture or plain text that the browser shows, and any other file for saving. Within a
    page, a browser shows pictures of all kinds, whatever this response says."""
    file = row_or_404(pk)
    return _send(request, file, inline=file.media_type in _SHOWN_ALONE)


def _send(request: HttpRequest, file: FileRow, *, inline: bool) -> HttpResponseBase:
    try:
        content = content_of(file)
    except ContentUnavailableError:
        return content_unavailable(request, file)
    etag, modified = f'"{file.digest}"', int(file.imported_at.timestamp())
    response: HttpResponseBase | None = get_conditional_response(request, etag, modified)
    if response is None:
        response = _content(request, content, etag, http_date(modified))
        if response.status_code != 416:
            _describe(response, file, content, inline=inline)
    response["ETag"] = etag
    response["Last-Modified"] = http_date(modified)
    response["Accept-Ranges"] = "bytes"
    # Browsers store it, but ask each time: a file that is imported again keeps its address.
    response["Cache-Control"] = "no-cache"
    return response


def _describe(
    response: HttpResponseBase, file: FileRow, content: CachedFile, *, inline: bool
) -> None:
    response["Content-Type"] = file.media_type
    if file.media_type == "text/plain":
        response["Content-Type"] += f"; charset={charset_of(content)}"
    name = "".join("_" if unicodedata.category(c) == "Cc" else c for c in file.name)
    response["Content-Disposition"] = content_disposition_header(not inline, name) or "inline"
    response["Content-Security-Policy"] = _POLICY


def _content(
    request: HttpRequest, content: CachedFile, etag: str, modified: str
) -> HttpResponseBase:
    """Return the response with the requested content, without the headers that describe it."""
    if (accelerated := _accelerated(request, content)) is not None:
        return accelerated
    requested = None
    if request.method == "GET" and "Range" in request.headers and _applies(request, etag, modified):
        try:
            requested = requested_range(request.headers["Range"], content.size)
        except UnsatisfiableRangeError:
            return HttpResponse(status=416, headers={"Content-Range": f"bytes */{content.size}"})
    positions = range(content.size) if requested is None else requested
    response: HttpResponseBase
    if request.method == "HEAD":
        response = HttpResponse()
    else:
        part = _Part(content.open(), positions)
        status = 200 if requested is None else 206
        if isinstance(request, ASGIRequest):
            # Django would first read the whole of an iterator that is not asynchronous.
            response = StreamingHttpResponse(_Chunks(part), status=status)
        else:
            response = FileResponse(part, status=status)
    response["Content-Length"] = str(len(positions))
    if requested is not None:
        response["Content-Range"] = f"bytes {requested.start}-{requested.stop - 1}/{content.size}"
    return response


def _applies(request: HttpRequest, etag: str, modified: str) -> bool:
    """Whether If-Range is absent, or names this very content."""
    # A file can be imported twice within a second. A client that has a date has an ETag as well,
    # and must prefer it (RFC 9110, section 13.1.5).
    return request.headers.get("If-Range", etag) in (etag, modified)


def _accelerated(request: HttpRequest, content: CachedFile) -> HttpResponse | None:
    """Return a response that lets nginx send the content; None without an nginx that can read it,
    or if it is in memory already. If the content disappears before nginx opens it, nginx answers
    404."""
    if not settings.X_ACCEL_REDIRECT or any(name in request.headers for name in _NOT_FOR_NGINX):
        return None
    if content.in_memory:
        return None
    folder = cache["files"].folder
    if folder is None or not content.path.is_relative_to(folder):
        return None
    path = quote(content.path.relative_to(folder).as_posix())
    location = f"{settings.X_ACCEL_REDIRECT.rstrip('/')}/{path}"
    return HttpResponse(headers={"X-Accel-Redirect": location})


class _Part:
    """A part of an open file. It is read, or the kernel sends it from its position on
    (``sendfile``). It has no other methods: a response that finds more of them reads or measures
    the file itself."""

    def __init__(self, file: BufferedReader, positions: range) -> None:
        # Without a buffer, the descriptor's position is the position of the next read.
        self._file = file.detach()
        self._file.seek(positions.start)
        self._left = len(positions)

    def read(self, size: int = -1) -> bytes:
        chunk: bytes = self._file.read(min(size, self._left) if size >= 0 else self._left) or b""
        self._left -= len(chunk)
        return chunk

    def fileno(self) -> int:
        return self._file.fileno()

    def close(self) -> None:
        self._file.close()


class _Chunks:
    """A part of a file for ASGI servers. A thread reads each chunk after the last one was sent."""

    def __init__(self, part: _Part) -> None:
        self._part = part

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            while chunk := await asyncio.to_thread(self._part.read, _CHUNK):
                yield chunk
        finally:
            self._part.close()

    def close(self) -> None:
        self._part.close()
