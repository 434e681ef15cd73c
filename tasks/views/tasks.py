"""The list: its pages, and the changes that its buttons post.

A change answers with a redirect to the page of its button, so that reloading repeats nothing.
Scripts send the header `PART`, and get the same pages without the frame around the list.
"""

import json
from dataclasses import replace
from datetime import date
from typing import Any

from django.contrib import messages
from django.core.paginator import Paginator
from django.db import transaction
from django.forms import Form
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.cache import add_never_cache_headers, patch_vary_headers
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from beaker_regions.django import region_page
from tasks.forms import TaskForm
from tasks.lists import changes, ownership, queries
from tasks.lists.capacity import CapacityError
from tasks.lists.queries import Show, TaskPage
from tasks.models import Task
from tasks.views.list_pages import ListPage
from tasks.views.numbers import number_in
from tasks.views.parts import without_known_rows
from tasks.views.saying import quoted, say

PART = "X-Part"


@require_http_methods(["GET", "HEAD", "POST"])
@without_known_rows
# The page of a search is not stored, because there are too many possible searches; its result is.
# Without max_age=None, the browser's Back button shows an outdated page.
@region_page(
    "functions",
    vary_by=ownership.viewer,
    params=("show", "page"),
    tags=ownership.tags_of_pages,
    max_age=None,
)
def index(request: HttpRequest) -> HttpResponse:
    """Show a page of the list; a POST adds a task."""
    list_page = ListPage.of(request)
    if request.method != "POST":
        return _page(request, list_page, TaskForm())
    form = TaskForm(request.POST)
    if not form.is_valid():
        return _page(request, list_page, form)
    try:
        with transaction.atomic():
            task = changes.add(ownership.list_to_write(request), **form.cleaned_data)
    except CapacityError as error:
        form.add_error("name", str(error))
        return _page(request, list_page, form)
    if list_page.show is Show.DUE:
        shown = ListPage(Show.DUE, queries.page_of_due(task) if task.due else 1)
    else:
        # The new task is on the first page of these tasks.
        shown = ListPage(Show.OPEN if list_page.show is Show.OPEN else Show.ALL)
    hidden = shown.show is Show.DUE and task.due is None
    way_on = f"{ListPage().url}#task-{task.pk}" if hidden else ""
    undo = reverse("tasks:delete", args=(task.pk,)) + shown.query
    say(request, f"Added {quoted(task.name)}.", undo=undo, show=way_on)
    return HttpResponseRedirect(shown.url)


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def edit(request: HttpRequest, task_id: int) -> HttpResponse:
    """Change a task's name and date."""
    list_page = ListPage.of(request)
    list_id = ownership.list_id(request)
    try:
        task = Task.objects.get(list_id=list_id, pk=task_id)
        data = request.POST if request.method == "POST" else None
        form = _editor(data, initial={"name": task.name, "due": task.due})
        if form.is_valid():
            former, task = changes.edit(list_id, task_id, **form.cleaned_data, was=_was(request))
            fields = {
                "name": former.name,
                "due": str(former.due or ""),
                "was": json.dumps([task.name, str(task.due or "")]),
            }
            say(request, f"Saved {quoted(task.name)}.", undo=request.get_full_path(), fields=fields)
            return _back(list_page, task)
    except changes.ChangedElsewhereError:
        messages.warning(request, "The task was changed elsewhere since: nothing was undone.")
        return _back(list_page, task)
    except Task.DoesNotExist:
        if request.method != "POST":
            raise Http404 from None
        context = {"editor": _editor(request.POST), "list_page": list_page, "layout": "base.html"}
        return render(request, "tasks/gone.html", context, status=404)
    return _render(
        request, "tasks/edit.html", {"editor": form, "task": task, "list_page": list_page}, form
    )


def _was(request: HttpRequest) -> tuple[str, date | None] | None:
    """Return the name and date that a task must have for an edit of it to be undone."""
    try:
        name, due = json.loads(request.POST.get("was", ""))
        return str(name), date.fromisoformat(due) if due else None
    except (ValueError, TypeError, RecursionError):
        return None


@require_POST
def done(request: HttpRequest, task_id: int) -> HttpResponse:
    """Set whether a task is done. The field ``done`` is 1 or 0, so a double click counts once."""
    try:
        task = changes.set_done(
            ownership.list_id(request), task_id, request.POST.get("done") == "1"
        )
    except Task.DoesNotExist:
        raise Http404 from None
    say(
        request,
        f"{quoted(task.name)} is {'done' if task.done else 'open again'}.",
        undo=request.get_full_path(),
        fields={"done": "0" if task.done else "1"},
    )
    return _back(ListPage.of(request), task)


@require_POST
def move(request: HttpRequest, task_id: int) -> HttpResponse:
    """Move a task: right ``above`` or ``below`` another, or past the next one that is shown
    (``step``, up or down)."""
    list_id, list_page = ownership.list_id(request), ListPage.of(request)
    sides = [
        (side, number_in(request.POST, side, -1))
        for side in ("above", "below")
        if side in request.POST
    ]
    try:
        if sides:
            side, other_id = sides[0]
            task, former = changes.move(list_id, task_id, other_id, above=side == "above")
        else:
            up = request.POST.get("step") == "up"
            task, former = changes.step(list_id, task_id, list_page.show, list_page.search, up=up)
    except Task.DoesNotExist:
        raise Http404 from None
    if former is None:
        return _back(list_page, task)  # it is alone
    fields = {"above" if former.above else "below": str(former.other_id)}
    moved = f"Moved {quoted(task.name)}."
    say(request, moved, undo=request.get_full_path(), fields=fields)
    return _back(list_page, task)


def _page(request: HttpRequest, list_page: ListPage, form: TaskForm) -> HttpResponse:
    list_id = ownership.list_id(request)
    page = TaskPage()
    if list_id is not None:
        page = queries.page_of(list_id, list_page.show, list_page.page, list_page.search)
    is_gone = list_page.page > page.number
    list_page = replace(list_page, page=page.number)
    if is_gone and not form.is_bound:
        response: HttpResponse = HttpResponseRedirect(list_page.url)
        add_never_cache_headers(response)
        return response
    counts = page.counts
    folds = list_page.show is Show.ALL
    context = {
        "form": form,
        "editor": _editor(),
        "list_page": list_page,
        "counts": counts,
        "tabs": [
            (show, counts.of(show), list_page.showing(show).url)
            for show in Show
            if show is not Show.DUE or counts.due or list_page.show is Show.DUE
        ],
        "page": Paginator(range(counts.of(list_page.show)), queries.PAGE_SIZE).page(page.number),
        "tasks": [row for row in page.rows if not (folds and row.done)],
        "folded": [row for row in page.rows if folds and row.done],
    }
    response = _render(request, "tasks/list.html", context, form)
    if request.GET.dict() != list_page.named:
        # Several addresses show this page. It is stored at its own address only.
        add_never_cache_headers(response)
    return response


def _editor(*data: Any, **options: Any) -> TaskForm:
    # The page also has the form that adds a task, so the ids must differ.
    form = TaskForm(*data, auto_id="edit_%s", **options)
    del form.fields["name"].widget.attrs["placeholder"]
    return form


def _render(
    request: HttpRequest, template: str, context: dict[str, Any], form: Form
) -> HttpResponse:
    context["layout"] = "part.html" if request.headers.get(PART) else "base.html"
    response = render(request, template, context, status=422 if form.errors else 200)
    patch_vary_headers(response, [PART])
    return response


def _back(list_page: ListPage, task: Task) -> HttpResponseRedirect:
    return HttpResponseRedirect(f"{list_page.url}#task-{task.pk}")
