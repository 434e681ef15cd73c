"""Many tasks at once: one a line."""

from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from tasks.files.tasks_from_file import MOST, Plan, plan_of_lines
from tasks.lists import changes, ownership
from tasks.lists.capacity import CapacityError
from tasks.views.list_pages import ListPage
from tasks.views.saying import number_of, say


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def add_lines(request: HttpRequest) -> HttpResponse:
    """Add each line of the field ``lines`` as a task; all of them, or none."""
    text = request.POST.get("lines", "")
    status, reasons = 200, []
    if request.method == "POST":
        lines = enumerate((line.strip() for line in text.splitlines()), 1)
        plan = plan_of_lines(lines)
        reasons = _reasons(plan)
        if not reasons:
            try:
                with transaction.atomic():
                    ids = changes.add_many(ownership.list_to_write(request), plan.names)
            except CapacityError as error:
                reasons = [str(error)]
            else:
                say_added(request, len(plan.names), ids, repeated=plan.repeated)
                return HttpResponseRedirect(ListPage().url)
        status = 422
    context = {"lines": text, "reasons": reasons, "most": MOST}
    return render(request, "tasks/lines.html", context, status=status)


def say_added(
    request: HttpRequest, number: int, ids: tuple[int, int], *, repeated: int = 0
) -> None:
    """Say how many tasks were added, with a way back."""
    left_out = f"; {number_of(repeated, 'repeated line')} left out" if repeated else ""
    first, last = map(str, ids)
    say(
        request,
        f"Added {number_of(number, 'task')}{left_out}.",
        undo=reverse("tasks:delete_added"),
        fields={"first": first, "last": last},
    )


def _reasons(plan: Plan) -> list[str]:
    """Return why the lines cannot all become tasks."""
    if plan.beyond or plan.unread:
        return [f"At most {MOST:,} tasks are added at once."]
    if plan.refused:
        return [f"Line {line.number}: {line.reason}" for line in plan.refused[:5]]
    return [] if plan.names else ["Give at least one line."]
