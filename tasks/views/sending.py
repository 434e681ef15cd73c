"""Sending the content of imported files: whole or in part, or leaving that to nginx."""

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
from tasks.views.files import away, row_or_404
from tasks.views.ranges import UnsatisfiableRangeError, asked_range

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from io import BufferedReader

    from django.http.response import HttpResponseBase

    from beaker_regions import CachedFile

_SHOWN = IMAGES - {"image/svg+xml"} | {"text/plain"}
"""Media types that a browser shows as a page of its own; all else might be active content."""
_POLICY = "sandbox; default-src 'none'; style-src 'unsafe-inline'"
"""What content may do in a browser that shows it as a page: be looked at."""
_PIECE = 256 * 1024
"""Bytes of a file that are in memory at a time where no kernel or nginx sends it."""
_OURS = ("If-Match", "If-Unmodified-Since")
"""What nginx would compare with the ETag and the time that the stored file has for it."""


@require_safe
def download(request: HttpRequest, pk: int) -> HttpResponseBase:
    """Send a file to be saved, and count that: the whole, or its beginning, was sent."""
    file = row_or_404(pk)
    response = _send(request, file, inline=False)
    part = response.get("Content-Range", "bytes 0-")
    if request.method == "GET" and response.status_code in (200, 206) and "bytes 0-" in part:
        downloads_of(file.path).add()
    return response


@require_safe
def raw(request: HttpRequest, pk: int) -> HttpResponseBase:
    """Send a picture or plain text to be shown; all else to be saved. A page shows pictures of
    all kinds, whatever this says of how to show them alone."""
    file = row_or_404(pk)
    return _send(request, file, inline=file.media_type in _SHOWN)


def _send(request: HttpRequest, file: FileRow, *, inline: bool) -> HttpResponseBase:
    try:
        content = content_of(file)
    except ContentUnavailableError:
        return away(request, file)
    etag, modified = f'"{file.digest}"', int(file.imported_at.timestamp())
    response: HttpResponseBase | None = get_conditional_response(request, etag, modified)
    if response is None:
        response = _content(request, content, etag, http_date(modified))
        if response.status_code != 416:
            _describe(response, file, content, inline=inline)
    response["ETag"] = etag
    response["Last-Modified"] = http_date(modified)
    response["Accept-Ranges"] = "bytes"
    # Kept, but asked for each time: a file that is imported again keeps its address.
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
    """Return the content that is asked for, without what it is."""
    if (accelerated := _accelerated(request, content)) is not None:
        return accelerated
    asked = None
    if request.method == "GET" and "Range" in request.headers and _applies(request, etag, modified):
        try:
            asked = asked_range(request.headers["Range"], content.size)
        except UnsatisfiableRangeError:
            return HttpResponse(status=416, headers={"Content-Range": f"bytes */{content.size}"})
    positions = range(content.size) if asked is None else asked
    response: HttpResponseBase
    if request.method == "HEAD":
        response = HttpResponse()
    else:
        part = _Part(content.open(), positions)
        status = 200 if asked is None else 206
        if isinstance(request, ASGIRequest):
            # Of anything else, Django makes a list first.
            response = StreamingHttpResponse(_Pieces(part), status=status)
        else:
            response = FileResponse(part, status=status)
    response["Content-Length"] = str(len(positions))
    if asked is not None:
        response["Content-Range"] = f"bytes {asked.start}-{asked.stop - 1}/{content.size}"
    return response


def _applies(request: HttpRequest, etag: str, modified: str) -> bool:
    """Whether the client has the beginning of this very content, as far as it says."""
    # A file can be imported twice in a second; a client that has a date has an ETag, too, and is
    # told to prefer that (RFC 9110, section 13.1.5).
    return request.headers.get("If-Range", etag) in (etag, modified)


def _accelerated(request: HttpRequest, content: CachedFile) -> HttpResponse | None:
    """Return the response that has nginx send the content, if there is an nginx for that, and the
    content lies where it can see it. Should it go before nginx opens it, nginx says 404."""
    if not settings.X_ACCEL_REDIRECT or any(name in request.headers for name in _OURS):
        return None
    folder = cache["files"].folder
    if folder is None or not content.path.is_relative_to(folder):
        return None
    place = quote(content.path.relative_to(folder).as_posix())
    location = f"{settings.X_ACCEL_REDIRECT.rstrip('/')}/{place}"
    return HttpResponse(headers={"X-Accel-Redirect": location})


class _Part:
    """A part of an open file, to be read or, from its position on, sent by the kernel
    (``sendfile``). It has no more methods than that takes: where a response finds more, it reads
    or measures the file itself."""

    def __init__(self, file: BufferedReader, positions: range) -> None:
        # Without a buffer, the descriptor's position is that of what is read.
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


class _Pieces:
    """A part of a file for servers of ASGI: read in threads, one piece when the last was sent."""

    def __init__(self, part: _Part) -> None:
        self._part = part

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            while piece := await asyncio.to_thread(self._part.read, _PIECE):
                yield piece
        finally:
            self._part.close()

    def close(self) -> None:
        self._part.close()
