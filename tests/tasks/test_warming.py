"""The pages that `manage.py regions warm` loads in advance."""

from __future__ import annotations

import io
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from beakercache import cache
from tasks.lists import queries
from tasks.lists.queries import Show
from tasks.models import TaskList

if TYPE_CHECKING:
    from tests.tasks.conftest import MakeBrowser


def warm() -> None:
    call_command("regions", "warm", "list_of", "page_of", stdout=io.StringIO())


def test_after_warming_the_first_request_sends_no_query_for_tasks(
    browser: MakeBrowser, user: User, other: User
) -> None:
    mine, newcomer = browser(user), browser(other)
    mine.add("a")
    cache.invalidate_region("functions")
    warm()
    with CaptureQueriesContext(connection) as asked:
        assert mine.get().names == ["a"]
        assert newcomer.get().names == []
    assert not [query["sql"] for query in asked if "tasks_task" in query["sql"]]


def test_only_the_most_recent_active_users_are_warmed(
    browser: MakeBrowser, user: User, other: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    def warmed() -> list[User]:
        cache.invalidate_region("functions")
        warm()
        lists = {owner: TaskList.objects.get(user=owner).pk for owner in (user, other)}
        found = [owner for owner in lists if queries.page_of.peek(lists[owner], Show.ALL, 1)]
        known = [owner for owner in lists if queries.list_of.peek(owner.pk) is not None]
        assert known == found
        return found

    for owner in (user, other):
        browser(owner).add("a")
    assert warmed() == [user, other]
    monkeypatch.setattr(queries, "WARMED", 1)
    assert warmed() == [other], "the last user to log in"
    long_ago = timezone.now() - timedelta(days=15)
    User.objects.filter(pk=other.pk).update(last_login=long_ago)
    assert warmed() == [user]
    User.objects.filter(pk=user.pk).update(is_active=False)
    assert warmed() == []
