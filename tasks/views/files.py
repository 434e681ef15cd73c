"""The pages of the imported files: list, search, preview, download."""

from __future__ import annotations

import codecs
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.http import FileResponse, Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.cache import get_conditional_response
from django.views.decorators.http import require_safe

from tasks.files import ContentAway, FileRow, content_of, file_row, files_page

if TYPE_CHECKING:
    from django.http.response import HttpResponseBase

    from regions import CachedFile

LONGEST_SEARCH = 255
"""Characters; databases refuse patterns without end."""
PREVIEW_SIZE = 64 * 1024
"""Bytes of a text that its page shows."""

_IMAGES = frozenset(
    f"image/{kind}"
    for kind in ("avif", "bmp", "gif", "jpeg", "png", "svg+xml", "webp", "vnd.microsoft.icon")
)
"""What browsers show as images."""
_TEXTS = frozenset(
    f"application/{kind}"
    for kind in ("javascript", "json", "sql", "toml", "x-perl", "x-sh", "x-tex", "xml", "yaml")
)
"""What people read, though its media type is not ``text/…``."""
_POLICY = "sandbox; default-src 'none'; style-src 'unsafe-inline'"
"""What content may do in a browser that shows it as a page: be looked at."""


@require_safe
def index(request: HttpRequest) -> HttpResponse:
    """List the imported files, or those whose path contains ``?q=``."""
    search = request.GET.get("q", "").replace("\0", "").strip()[:LONGEST_SEARCH]
    try:
        number = int(request.GET.get("page", "1"))
    except ValueError:
        number = 1
    page = files_page(search, number)
    return render(request, "tasks/files/index.html", {"page": page, "search": search})


@require_safe
def detail(request: HttpRequest, pk: int) -> HttpResponse:
    """Show what is known of a file, and a preview of text and images."""
    file = _row(pk)
    try:
        content = content_of(file)
    except ContentAway:
        return _away(request, file)
    context = {
        "file": file,
        "image": file.media_type in _IMAGES,
        "preview": _preview(file, content),
    }
    return render(request, "tasks/files/detail.html", context)


@require_safe
def download(request: HttpRequest, pk: int) -> HttpResponseBase:
    """Send a file to be saved."""
    return _send(request, _row(pk), inline=False)


@require_safe
def raw(request: HttpRequest, pk: int) -> HttpResponseBase:
    """Send an image or plain text to be shown; all else, which might be active, to be saved."""
    file = _row(pk)
    inline = file.media_type in _IMAGES or file.media_type == "text/plain"
    return _send(request, file, inline=inline)


def _row(pk: int) -> FileRow:
    file = file_row(pk)
    if file is None:
        raise Http404("There is no such file.")
    return file


def _away(request: HttpRequest, file: FileRow) -> HttpResponse:
    context = {"file": file, "away": True}
    return render(request, "tasks/files/detail.html", context, status=404)


def _send(request: HttpRequest, file: FileRow, *, inline: bool) -> HttpResponseBase:
    try:
        content = content_of(file)
    except ContentAway:
        return _away(request, file)
    etag = f'"{file.digest}"'
    response: HttpResponseBase | None = get_conditional_response(request, etag=etag)
    if response is None:
        response = _whole(file, content, inline=inline)
        if request.method == "HEAD":
            response.close()
            response = HttpResponse(headers=response.headers)
    response["ETag"] = etag
    # Kept, but asked for each time: a file that is imported again keeps its address.
    response["Cache-Control"] = "no-cache"
    return response


def _whole(file: FileRow, content: CachedFile, *, inline: bool) -> FileResponse:
    stream = content.open()
    media_type = file.media_type
    if media_type == "text/plain":
        media_type = f"text/plain; charset={_charset(stream.read(PREVIEW_SIZE))}"
        stream.seek(0)
    response = FileResponse(
        stream,
        as_attachment=not inline,
        filename="".join("_" if unicodedata.category(c) == "Cc" else c for c in file.name),
        content_type=media_type,
    )
    response["Content-Security-Policy"] = _POLICY
    return response


# -- previews ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _TextPreview:
    text: str
    partial: bool
    """Whether the file goes on."""


def _preview(file: FileRow, content: CachedFile) -> _TextPreview | None:
    """Return the beginning of a text; None for what is none."""
    kind = file.media_type
    readable = kind.startswith("text/") or kind in _TEXTS or kind.endswith(("+json", "+xml"))
    if not readable or kind in _IMAGES:
        return None
    with content.open() as stream:
        start = stream.read(PREVIEW_SIZE)
    text = codecs.getincrementaldecoder(_charset(start))("replace").decode(start)
    if "\0" in text:
        return None
    return _TextPreview(text, partial=content.size > PREVIEW_SIZE)


def _charset(start: bytes) -> str:
    """Return the encoding of a text that begins with ``start``: what its mark says, else UTF-8
    if it is valid, else Windows-1252, which nearly every other text reads well in."""
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    try:
        # A decoder that is told to expect more takes a character that is cut off at the end.
        codecs.getincrementaldecoder("utf-8")().decode(start)
    except UnicodeDecodeError:
        return "windows-1252"
    return "utf-8-sig" if start.startswith(codecs.BOM_UTF8) else "utf-8"
