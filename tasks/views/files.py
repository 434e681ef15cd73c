"""The pages of the imported files: folders, search, and what there is to see of each file."""

from __future__ import annotations

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from tasks.files import attachments, preview
from tasks.files.content import ContentUnavailableError, content_of, old_copy_of
from tasks.files.downloads import downloads_of
from tasks.files.folders import folder_page
from tasks.files.index import FileRow, file_row, files_page
from tasks.lists import ownership
from tasks.lists.searching import is_shortened
from tasks.views.numbers import number_in

DEEPEST = 32
"""Folders on the way to another that a page shows: each has all names above it in its address."""
LONGEST_SEARCH = 255
"""Characters; databases refuse patterns without end."""


@require_safe
def index(request: HttpRequest) -> HttpResponse:
    """List what lies in ``?folder=``, or the files whose path contains ``?q=``."""
    search = search_in(request, "q")
    number = number_in(request.GET, "page", 1)
    if search:
        context = {"page": files_page(search, number), "search": search}
        return render(request, "tasks/files/search.html", context)
    folder = request.GET.get("folder", "").strip("/")
    page = folder_page(folder, number)
    if page is None:
        raise Http404("There is no such folder.")
    context = {"page": page, "above": folders_above(folder), "folder": folder}
    return render(request, "tasks/files/index.html", context)


@never_cache  # it shows whose tasks have the file
@require_safe
def detail(request: HttpRequest, pk: int) -> HttpResponse:
    """Show what is known of a file, a preview of text and images, and what to do with it."""
    file = row_or_404(pk)
    try:
        content = content_of(file)
    except ContentUnavailableError:
        return away(request, file)
    text = preview.text_of(file, content)
    search = search_in(request, "task")
    context = {
        "file": file,
        "above": folders_above(file.path.rpartition("/")[0]),
        "copied_at": old_copy_of(content),
        "downloads": downloads_of(file.path).value(),
        "image": file.media_type in preview.IMAGES,
        "large_image": file.size > preview.PREVIEW_IMAGE,
        "text": text,
        "table": text and preview.is_table(file) and preview.table_of(file, text),
        "columns": preview.PREVIEW_COLUMNS,
        "search": search,
        "shortened": is_shortened(search),
        "offer": attachments.offer(ownership.list_id(request), pk, search),
    }
    return render(request, "tasks/files/detail.html", context)


def row_or_404(pk: int) -> FileRow:
    file = file_row(pk)
    if file is None:
        raise Http404("There is no such file.")
    return file


def away(request: HttpRequest, file: FileRow) -> HttpResponse:
    """Say that the content of a file is not there."""
    above = folders_above(file.path.rpartition("/")[0])
    context = {"file": file, "above": above, "away": True}
    return render(request, "tasks/files/detail.html", context, status=404)


def folders_above(path: str) -> list[tuple[str, str]]:
    """Return path and name of each folder on the way to ``path``, and of that itself; of the last
    of them, where there are very many."""
    names = path.split("/") if path else []
    depths = range(max(0, len(names) - DEEPEST), len(names))
    return [("/".join(names[: depth + 1]), names[depth]) for depth in depths]


def search_in(request: HttpRequest, name: str) -> str:
    """Return what to search for, as the query string has it under ``name``."""
    return request.GET.get(name, "").replace("\0", "").strip()[:LONGEST_SEARCH]
