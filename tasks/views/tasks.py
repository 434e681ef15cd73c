"""The list: one page of it to look at, and the changes that its buttons post.

A change answers with a redirect to the page it was made on, so that reloading repeats nothing.
"""

from dataclasses import dataclass
from typing import Self

from django.contrib import messages
from django.core.paginator import Paginator
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.http import urlencode
from django.utils.text import Truncator
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from tasks import changes, lists, queries
from tasks.forms import TaskForm
from tasks.models import Task
from tasks.queries import Show, TaskPage


@dataclass(frozen=True, slots=True)
class Place:
    """A page of the list, as the query string names it."""

    show: Show = Show.ALL
    page: int = 1

    @classmethod
    def of(cls, request: HttpRequest) -> Self:
        """Return the place a request names; what it names wrongly is as if left out."""
        try:
            show = Show(request.GET.get("show", Show.ALL))
        except ValueError:
            show = Show.ALL
        try:
            page = int(request.GET.get("page", 1))
        except ValueError:
            page = 1
        return cls(show, page)

    @property
    def query(self) -> str:
        """The query string, with its "?"; empty for the first page of all tasks."""
        named: dict[str, str | int] = {}
        if self.show is not Show.ALL:
            named["show"] = self.show
        if self.page > 1:
            named["page"] = self.page
        return f"?{urlencode(named)}" if named else ""

    @property
    def url(self) -> str:
        return reverse("tasks:list") + self.query


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def index(request: HttpRequest) -> HttpResponse:
    """Show a page of the list; a POST adds a task."""
    place = Place.of(request)
    if request.method != "POST":
        return _page(request, place, TaskForm())
    form = TaskForm(request.POST)
    if not form.is_valid():
        return _page(request, place, form)
    with transaction.atomic():
        task = changes.add(lists.list_to_write(request), form.cleaned_data["name"])
    messages.success(request, f"Added {_quoted(task)}.")
    # Where the new task is to be seen: the first page, and not among those that are done.
    return HttpResponseRedirect(Place(Show.ALL if place.show is Show.DONE else place.show).url)


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def edit(request: HttpRequest, task_id: int) -> HttpResponse:
    """Rename a task."""
    place = Place.of(request)
    list_id = lists.list_id(request)
    try:
        task = Task.objects.get(list_id=list_id, pk=task_id)
        data = request.POST if request.method == "POST" else None
        form = TaskForm(data, initial={"name": task.name})
        if form.is_valid():
            task = changes.rename(list_id, task_id, form.cleaned_data["name"])
            messages.success(request, f"Renamed to {_quoted(task)}.")
            return _back(place, task)
    except Task.DoesNotExist:
        raise Http404 from None
    context = {"form": form, "task": task, "place": place}
    return render(request, "tasks/edit.html", context, status=422 if form.errors else 200)


@require_POST
def done(request: HttpRequest, task_id: int) -> HttpResponse:
    """Set whether a task is done: the field ``done`` is 1 or 0, so that a repeated click is one."""
    try:
        task = changes.set_done(lists.list_id(request), task_id, request.POST.get("done") == "1")
    except Task.DoesNotExist:
        raise Http404 from None
    messages.success(request, f"{_quoted(task)} is {'done' if task.done else 'open again'}.")
    return _back(Place.of(request), task)


@require_POST
def delete(request: HttpRequest, task_id: int) -> HttpResponse:
    try:
        task = changes.delete(lists.list_id(request), task_id)
    except Task.DoesNotExist:
        raise Http404 from None
    messages.success(request, f"Deleted {_quoted(task)}.")
    return HttpResponseRedirect(Place.of(request).url)


@require_POST
def clear_done(request: HttpRequest) -> HttpResponse:
    """Delete every task that is done."""
    deleted = changes.clear_done(lists.list_id(request))
    messages.success(request, f"Deleted {deleted} done task{'' if deleted == 1 else 's'}.")
    return HttpResponseRedirect(Place.of(request).url)


def _page(request: HttpRequest, place: Place, form: TaskForm) -> HttpResponse:
    list_id = lists.list_id(request)
    page = TaskPage() if list_id is None else queries.page_of(list_id, place.show, place.page)
    counts = page.counts
    context = {
        "form": form,
        "place": Place(place.show, page.number),
        "counts": counts,
        "tabs": [(show, counts.of(show)) for show in Show],
        "page": Paginator(range(counts.of(place.show)), queries.PAGE_SIZE).page(page.number),
        "tasks": page.rows,
    }
    return render(request, "tasks/list.html", context, status=422 if form.errors else 200)


def _back(place: Place, task: Task) -> HttpResponseRedirect:
    return HttpResponseRedirect(f"{place.url}#task-{task.pk}")


def _quoted(task: Task) -> str:
    return f"“{Truncator(task.name).chars(40)}”"
