"""Files and tasks together: attachments, and tasks made from a file's lines."""

from __future__ import annotations

from django.contrib import messages
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from tasks.files import attachments
from tasks.files.content import ContentUnavailableError, content_of
from tasks.files.preview import text_of
from tasks.files.tasks_from_file import LINES, LONGEST, MOST, choice_of, plan_of
from tasks.lists import changes, ownership
from tasks.lists.capacity import CapacityError
from tasks.models import ImportedFile, Task
from tasks.views.files import content_unavailable, folders_above, row_or_404
from tasks.views.lines import say_added
from tasks.views.list_pages import ListPage
from tasks.views.numbers import number_in

_SHOWN = 20
"""The number of names, and of refused lines, that the page shows as examples."""


@require_POST
def attach(request: HttpRequest, pk: int) -> HttpResponse:
    """Attach a file to a task. The field ``task`` has the task's id."""
    try:
        task = attachments.attach(ownership.list_id(request), _number(request, "task", -1), pk)
    except (Task.DoesNotExist, ImportedFile.DoesNotExist):
        raise Http404 from None
    except CapacityError as error:
        messages.error(request, str(error))
        return HttpResponseRedirect(reverse("tasks:file", args=(pk,)))
    messages.success(request, f"Attached to “{task.name}”.")
    return HttpResponseRedirect(reverse("tasks:file", args=(pk,)))


@require_POST
def detach(request: HttpRequest, task_id: int, pk: int) -> HttpResponse:
    """Remove a file from a task. Redirects to the task's page, or with the field ``next=file`` to
    the file's page."""
    try:
        file = attachments.detach(ownership.list_id(request), task_id, pk)
    except Task.DoesNotExist:
        raise Http404 from None
    if file is not None:
        messages.success(request, f"Removed “{file}” from the task; the file itself is kept.")
    if request.POST.get("next") == "file":
        return HttpResponseRedirect(reverse("tasks:file", args=(pk,)))
    return HttpResponseRedirect(reverse("tasks:edit", args=(task_id,)) + ListPage.of(request).query)


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def from_lines(request: HttpRequest, pk: int) -> HttpResponse:
    """Show the tasks that a file's lines would become. A POST creates them."""
    file = row_or_404(pk)
    try:
        text = text_of(file, content_of(file), LONGEST)
    except ContentUnavailableError:
        return content_unavailable(request, file)
    if text is None:
        raise Http404("The file is not text.")
    fields = request.POST if request.method == "POST" else request.GET
    header = {"0": False, "1": True}.get(fields.get("header", ""))
    choice = choice_of(file, text, _number(request, "column", 0), header)
    plan = plan_of(file, text, choice)
    changed = request.method == "POST" and request.POST.get("digest") != file.digest
    full = ""
    if request.method == "POST" and plan.names and not changed:
        try:
            with transaction.atomic():
                ids = changes.add_many(ownership.list_to_write(request), plan.names)
        except CapacityError as error:
            full = str(error)
        else:
            say_added(request, len(plan.names), ids)
            return HttpResponseRedirect(reverse("tasks:list"))
    context = {
        "file": file,
        "above": folders_above(file.path.rpartition("/")[0]),
        "choice": choice,
        "plan": plan,
        "names": plan.names[:_SHOWN],
        "more_names": max(0, len(plan.names) - _SHOWN),
        "refused": plan.refused[:_SHOWN],
        "more_refused": max(0, len(plan.refused) - _SHOWN),
        "partial": text.partial,
        "longest": LONGEST,
        "lines": LINES,
        "most": MOST,
        "changed": changed,
        "full": full,
    }
    status = 409 if changed else 422 if full else 200
    return render(request, "tasks/files/lines.html", context, status=status)


def _number(request: HttpRequest, name: str, default: int) -> int:
    """Return the number in a field, or ``default`` if it has none."""
    return number_in(request.POST if request.method == "POST" else request.GET, name, default)
