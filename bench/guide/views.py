"""The guide's three views."""

from typing import Any

from django.core.cache import cache
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import cache_page
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from bench.guide.models import Task
from bench.guide.settings import STAGE

KEY = "tasks.all"


def listed(request: HttpRequest) -> HttpResponse:
    tasks: Any = cache.get(KEY) if STAGE != "uncached" else None
    if tasks is None:
        tasks = list(Task.objects.order_by("id"))
        if STAGE != "uncached":
            cache.set(KEY, tasks)
    fragments = STAGE == "fragments"
    template = "guide/fragments.html" if fragments else "guide/rows.html"
    return render(request, template, {"tasks": tasks, "fragments": fragments})


index = cache_page(None)(listed) if STAGE == "page" else listed


@require_POST
def add(request: HttpRequest) -> HttpResponse:
    Task.objects.create(name=request.POST["name"])
    cache.delete(KEY)
    return redirect("/")


# A fragment that all users share cannot hold a token.
@csrf_exempt
@require_POST
def remove(request: HttpRequest) -> HttpResponse:
    Task.objects.filter(pk=request.POST["id"]).delete()
    cache.delete(KEY)
    return redirect("/")
