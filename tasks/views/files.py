"""The pages of the imported files: folders, search, and one page for each file."""

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
"""The most folders above a folder that a page shows. Each link has the whole path in its address,
so a deep path would make a large page."""
LONGEST_SEARCH = 255
"""Characters; databases refuse very long patterns."""


@require_safe
def index(request: HttpRequest) -> HttpResponse:
    """List the content of ``?folder=``, or the files whose path contains ``?q=``."""
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


@never_cache  # it shows the visitor's own tasks
@require_safe
def detail(request: HttpRequest, pk: int) -> HttpResponse:
    """Show a file's properties, a preview of text and images, and the possible actions."""
    file = row_or_404(pk)
    try:
        content = content_of(file)
    except ContentUnavailableError:
        return content_unavailable(request, file)
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


def content_unavailable(request: HttpRequest, file: FileRow) -> HttpResponse:
    """Return the page that says that a file's content is unavailable."""
    above = folders_above(file.path.rpartition("/")[0])
    context = {"file": file, "above": above, "unavailable": True}
    return render(request, "tasks/files/detail.html", context, status=404)


def folders_above(path: str) -> list[tuple[str, str]]:
    """Return the path and the name of each folder above ``path``, and of ``path`` itself. Of a very
    deep path, return the last `DEEPEST`."""
    names = path.split("/") if path else []
    depths = range(max(0, len(names) - DEEPEST), len(names))
    return [("/".join(names[: depth + 1]), names[depth]) for depth in depths]


def search_in(request: HttpRequest, name: str) -> str:
    """Return the text to search for: the parameter ``name`` of the query string."""
    return request.GET.get(name, "").replace("\0", "").strip()[:LONGEST_SEARCH]
