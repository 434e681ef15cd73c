"""Deleting tasks, and bringing them back."""

from django.conf import settings
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from tasks.lists import deletions, ownership
from tasks.lists.capacity import CapacityError
from tasks.models import Deletion, Task
from tasks.views.list_pages import ListPage
from tasks.views.numbers import number_in
from tasks.views.saying import number_of, quoted, say


@require_POST
def delete(request: HttpRequest, task_id: int) -> HttpResponse:
    try:
        task, deletion = deletions.delete(ownership.list_id(request), task_id)
    except Task.DoesNotExist:
        raise Http404 from None
    return _deleted(request, f"Deleted {quoted(task.name)}.", deletion)


@require_POST
def delete_added(request: HttpRequest) -> HttpResponse:
    """Delete the tasks that were added together: those with the ids from ``first`` to ``last``."""
    first, last = (number_in(request.POST, name, 0) for name in ("first", "last"))
    number, deletion = deletions.delete_range(ownership.list_id(request), first, last)
    if deletion is None:
        raise Http404
    return _deleted(request, f"Deleted {number_of(number, 'task')}.", deletion)


@require_POST
def clear_done(request: HttpRequest) -> HttpResponse:
    """Delete every task that is done."""
    number, deletion = deletions.clear_done(ownership.list_id(request))
    if deletion is None:
        messages.info(request, "No task is done.")
        return HttpResponseRedirect(ListPage.of(request).url)
    return _deleted(request, f"Deleted {number_of(number, 'done task')}.", deletion)


@require_POST
def undo(request: HttpRequest, deletion_id: int) -> HttpResponse:
    """Bring back deleted tasks."""
    try:
        number = deletions.undo(ownership.list_id(request), deletion_id)
    except Deletion.DoesNotExist:
        raise Http404 from None
    except CapacityError as error:
        messages.error(request, str(error))
        return HttpResponseRedirect(ListPage.of(request).url)
    if number:
        say(request, f"Brought back {number_of(number, 'task')}.")
    else:
        messages.info(request, "Nothing was left to bring back.")
    return HttpResponseRedirect(ListPage.of(request).url)


@never_cache
@require_safe
def recently(request: HttpRequest) -> HttpResponse:
    """Show the tasks that were deleted recently and can be brought back."""
    list_id = ownership.list_id(request)
    known = () if list_id is None else deletions.deleted_of(list_id)
    # A stored result may be older than the limit.
    since = deletions.kept_since()
    context = {
        "deletions": [each for each in known if each.made_at > since],
        "most": deletions.SHOWN,
        "days": settings.DELETED_TASKS_DAYS,
    }
    return render(request, "tasks/deleted.html", context)


@require_POST
def forget(request: HttpRequest) -> HttpResponse:
    """Remove for good all that was deleted."""
    number = deletions.forget(ownership.list_id(request))
    say(request, f"Removed {number_of(number, 'deleted task')} for good.")
    return HttpResponseRedirect(reverse("tasks:deleted"))


def _deleted(request: HttpRequest, text: str, deletion: Deletion) -> HttpResponse:
    list_page = ListPage.of(request)
    say(request, text, undo=reverse("tasks:undo", args=(deletion.pk,)) + list_page.query)
    return HttpResponseRedirect(list_page.url)
