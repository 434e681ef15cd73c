"""The list as a file, to take away and to bring back."""

from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from tasks.files import list_as_file
from tasks.files.tasks_from_file import RefusedLine
from tasks.lists import changes, ownership
from tasks.lists.capacity import CapacityError
from tasks.views.account import context_of
from tasks.views.lines import say_added

_SHOWN = 5
"""Refused tasks that are named."""


@never_cache
@require_safe
def export_csv(request: HttpRequest) -> HttpResponse:
    return _file(
        list_as_file.as_csv(list_as_file.exported(ownership.list_id(request))), "csv", "text/csv"
    )


@never_cache
@require_safe
def export_json(request: HttpRequest) -> HttpResponse:
    text = list_as_file.as_json(list_as_file.exported(ownership.list_id(request)))
    return _file(text, "json", "application/json")


@never_cache
@require_POST
def import_tasks(request: HttpRequest) -> HttpResponse:
    """Add the tasks of an exported file, whose text is in the field ``text``: all, or none."""
    text = request.POST.get("text", "")
    try:
        found = list_as_file.read(text)
        if found.refused:
            return _refused(request, text, list(map(_reason, found.refused[:_SHOWN])))
        if not found.tasks:
            return _refused(request, text, ["There is no task in it."])
        with transaction.atomic():
            ids = changes.add_all(ownership.list_to_write(request), found.tasks)
    except (ValueError, CapacityError) as error:
        return _refused(request, text, [str(error)])
    say_added(request, len(found.tasks), ids)
    return HttpResponseRedirect(reverse("tasks:list"))


def _reason(refused: RefusedLine) -> str:
    return f"Task {refused.number}: {refused.reason}"


def _refused(request: HttpRequest, text: str, reasons: list[str]) -> HttpResponse:
    context = {**context_of(request), "text": text, "reasons": reasons}
    return render(request, "tasks/account.html", context, status=422)


def _file(text: str, ending: str, media_type: str) -> HttpResponse:
    name = f"tasks-{timezone.now():%Y-%m-%d}.{ending}"
    return HttpResponse(
        text,
        content_type=f"{media_type}; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )
