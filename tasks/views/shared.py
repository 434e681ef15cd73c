"""A list as others may read it. Each page is stored once for all readers, and is never stale."""

from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from beaker_regions.django import region_page
from tasks.lists import queries, sharing
from tasks.lists.queries import Show
from tasks.views.list_pages import ListPage
from tasks.views.numbers import number_in


def _tags(request: HttpRequest, token: str) -> list[str]:  # noqa: ARG001
    return [f"share:{token}", f"list:{sharing.list_shared_at(token)}"]


@require_safe
@region_page("functions", params=("page",), tags=_tags)
def shared(request: HttpRequest, token: str) -> HttpResponse:
    """Show a page of the list. The template shows nothing of the reader, so all get the same."""
    list_id = sharing.list_shared_at(token)
    if list_id is None:
        raise Http404
    number = number_in(request.GET, "page", 1)
    page = queries.page_of(list_id, Show.ALL, number)
    context = {
        "counts": page.counts,
        "tasks": [row for row in page.rows if not row.done],
        "folded": [row for row in page.rows if row.done],
        "page": Paginator(range(page.counts.all), queries.PAGE_SIZE).page(page.number),
        "list_page": ListPage(page=page.number),
    }
    return render(request, "tasks/shared.html", context)
