"""Model instances as arguments of cached functions."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import AnonymousUser, Group, Permission, User
from django.contrib.sessions.backends.db import SessionStore
from django.http import HttpRequest
from django.test import RequestFactory
from django.utils import translation
from django.utils.functional import SimpleLazyObject
from django.utils.translation import gettext_lazy

from beaker_regions import CacheManager, UnkeyableArgumentError
from tests.beaker_regions.conftest import Calls


@pytest.mark.django_db
def test_the_key_of_an_instance_is_its_model_and_primary_key(cache: CacheManager) -> None:
    @cache.region("functions")
    def load(subject: object) -> object:
        return object.__repr__(subject)

    group = Group.objects.create(pk=7, name="group")
    user = User.objects.create(pk=7, username="group")
    permission = Permission.objects.all()[0]
    addresses = {load.entry(subject).address for subject in (group, user, permission)}
    assert len(addresses) == 3
    assert load.entry(group) == load.entry(Group(pk=7, name="other name"))
    assert load.entry(group) != load.entry(Group(pk=8, name="group"))
    assert load.entry(group) == load.entry(Group.objects.defer("name").get(pk=7))


class Member(User):
    class Meta:
        app_label = "auth"
        proxy = True


def lazy(user: object) -> object:
    """A lazy user, as Django's ``request.user``."""
    return SimpleLazyObject(lambda: user)


@pytest.mark.parametrize("key", [None, lambda user: user, lambda user: {"by": [user]}])
def test_different_objects_of_one_row_are_one_argument(
    cache: CacheManager, calls: Calls, key: object
) -> None:
    @cache.region("functions", key=key)  # type: ignore[arg-type]
    def load(user: object) -> int:
        return calls()

    row = User(pk=7, username="a")
    assert load(lazy(row)) == load(row) == load(Member(pk=7)) == load(lazy(lazy(row))) == 1
    load.invalidate(row)
    assert load(lazy(row)) == 2
    load.invalidate(lazy(Member(pk=7)))
    assert load(row) == 3


def test_one_row_in_two_databases_is_two_entries_invalidated_together(
    cache: CacheManager, calls: Calls
) -> None:
    @cache.region("functions")
    def load(group: Group, others: frozenset[Group]) -> int:
        return calls()

    here, there = (
        Group.from_db(database, ["id", "name"], [7, "a"]) for database in ("default", "other")
    )
    none: frozenset[Group] = frozenset()
    assert (load(here, none), load(there, none), load(Group(pk=7), none)) == (1, 2, 1)
    assert (load(here, frozenset({here})), load(here, frozenset({there}))) == (3, 4)
    load.invalidate(here, none)
    assert (load(there, none), load(here, none)) == (5, 6)
    load.invalidate(there, frozenset({here}))
    assert load(here, frozenset({there})) == 7


def test_the_anonymous_user_is_one_argument(cache: CacheManager, calls: Calls) -> None:
    @cache.region("functions")
    def load(user: object) -> int:
        return calls()

    assert load(AnonymousUser()) == load(SimpleLazyObject(AnonymousUser)) == 1
    assert load(User(pk=1)) == 2


def test_the_key_of_a_lazy_text_is_its_translation(cache: CacheManager, calls: Calls) -> None:
    @cache.region("functions")
    def load(text: object) -> int:
        return calls()

    text = gettext_lazy("Monday")
    with translation.override("en"):
        assert load(text) == load("Monday") == 1
    with translation.override("de"):
        assert load(text) == load("Montag") == 2


def test_an_unsaved_instance_is_an_error(cache: CacheManager) -> None:
    @cache.region("functions")
    def load(group: Group) -> str:
        return group.name

    with pytest.raises(UnkeyableArgumentError, match=r"group.*not saved"):
        load(Group(name="new"))


def test_a_request_is_an_error_that_names_the_mend(cache: CacheManager) -> None:
    """The message does not say to ignore it: then users would share a page."""

    @cache.region("functions")
    def view(request: object, number: int = 0) -> str:
        return "a page"

    for request in (RequestFactory().get("/"), [HttpRequest()]):
        with pytest.raises(
            UnkeyableArgumentError, match=r"view.*'request'.*region_page"
        ) as refused:
            view(request)
        assert "ignore" not in str(refused.value)
    with pytest.raises(UnkeyableArgumentError, match="session") as refused:
        view(SessionStore())
    assert "ignore" not in str(refused.value)
