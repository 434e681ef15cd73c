"""Django's sessions in a region: no read is stale, and no change is lost."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib.sessions.backends.base import UpdateError
from django.contrib.sessions.models import Session
from django.contrib.sessions.serializers import JSONSerializer
from django.db import connection, transaction
from django.test import Client
from django.utils import timezone

from beaker_regions.django.checks import check_sessions
from beaker_regions.django.sessions import SessionStore
from tests.beaker_regions.api.test_counters import memcached_manager  # noqa: F401 a fixture
from tests.beaker_regions.conftest import make_manager
from tests.beaker_regions.django.conftest import elsewhere

if TYPE_CHECKING:
    from django.contrib.auth.models import User
    from pytest_django import DjangoAssertNumQueries

    from beaker_regions import CacheManager
    from tests.beaker_regions.conftest import Later


CACHE_ENGINE = "django.contrib.sessions.backends.cache"


@pytest.fixture(autouse=True)
def cache(
    transactional_db: None, cache: CacheManager, monkeypatch: pytest.MonkeyPatch
) -> CacheManager:
    monkeypatch.setattr("beaker_regions.django.manager._manager", cache)
    return cache


def stored(**data: Any) -> str:
    """Return the key of a new session with this data."""
    session = SessionStore()
    session.update(data)
    session.save()
    assert session.session_key
    return session.session_key


def seen(key: str) -> dict[str, Any]:
    """Return a session's data as another request reads it."""
    return elsewhere(lambda: dict(SessionStore(key).items()))  # type: ignore[no-any-return]


def test_a_session_is_read_once_and_then_without_sql(
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    key = stored(name="one")
    assert seen(key) == {"name": "one"}
    with django_assert_num_queries(0):
        assert SessionStore(key)["name"] == "one"
    session = SessionStore(key)
    session["name"] = "two"
    session.save()
    assert SessionStore(key)["name"] == "two"


def test_a_lost_region_loses_no_session(cache: CacheManager) -> None:
    key = stored(name="one")
    cache.invalidate_region("functions")
    assert seen(key) == {"name": "one"}


def test_two_requests_of_a_session_both_save_their_keys() -> None:
    key = stored(kept=1, removed=1, changed=1, both=1)
    one, other = SessionStore(key), SessionStore(key)
    assert one["kept"] == other["kept"]
    one["new"] = 2
    del one["removed"]
    one["both"] = "one"
    other["changed"] = 2
    other["both"] = "other"
    one.save()
    other.save()
    expected = {"kept": 1, "changed": 2, "new": 2, "both": "other"}
    assert seen(key) == dict(other.items()) == expected
    # A save has read the changes of another request; they are not its own.
    one["last"] = 1
    one.save()
    assert seen(key) == {**expected, "last": 1}


def test_eight_requests_at_once_lose_no_key() -> None:
    key, threads, times = stored(first=0), 8, 5
    ready = threading.Barrier(threads)

    def request(name: int) -> None:
        for number in range(times):
            session = SessionStore(key)
            assert session["first"] == 0
            session[f"{name} {number}"] = name
            ready.wait(30)
            session.save()

    failures: list[BaseException] = []

    def run(name: int) -> None:
        try:
            elsewhere(request, name)
        except BaseException as error:
            failures.append(error)

    running = [threading.Thread(target=run, args=(name,)) for name in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    assert not failures
    wanted = {f"{name} {number}": name for name in range(threads) for number in range(times)}
    assert seen(key) == {"first": 0, **wanted}


class PlainStore(SessionStore):
    """A store that writes its data in plain text."""

    def encode(self, session_dict: dict[str, Any]) -> str:
        return json.dumps(session_dict)

    def decode(self, session_data: str | bytes) -> dict[str, Any]:
        content: dict[str, Any] = json.loads(session_data)
        return content


class RenamedStore(SessionStore):
    """A store whose name is part of the signature of its data."""


@pytest.mark.parametrize("store", [PlainStore, RenamedStore])
def test_another_store_class_reads_its_own_data(store: type[SessionStore]) -> None:
    session = store()
    session.update({"one": 1, "two": 2})
    session.save()
    for _ in range(2):
        read = store(session.session_key)
        assert dict(read.items()) == {"one": 1, "two": 2}
    read["three"] = 3
    read.save()
    assert dict(store(session.session_key).items()) == {"one": 1, "two": 2, "three": 3}


class Place:
    """An object in a session, which a serializer of the application's own makes."""


class Places(JSONSerializer):
    made: Any = Place

    def dumps(self, obj: Any) -> bytes:
        return super().dumps(dict.fromkeys(obj, "a place"))

    def loads(self, data: Any) -> Any:
        return {name: self.made() for name in super().loads(data)}


def test_objects_of_a_serializer_may_be_no_pickles(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Local: ...

    settings.SESSION_SERIALIZER = f"{__name__}.Places"
    key = stored(home=Place())
    assert type(seen(key)["home"]) is Place
    # A release in which the class has another name.
    monkeypatch.delitem(globals(), "Place")
    monkeypatch.setattr(Places, "made", Local)
    assert type(seen(key)["home"]) is Local
    assert type(seen(stored(home=Local()))["home"]) is Local


def test_a_row_is_decoded_for_each_store_class() -> None:
    key = stored(name="one")
    assert dict(SessionStore(key).items()) == {"name": "one"}
    assert dict(RenamedStore(key).items()) == {}, "as in Django: it was signed for another"
    assert dict(SessionStore(key).items()) == {"name": "one"}


def test_the_region_of_sessions_is_an_option() -> None:
    asked = "from beaker_regions.django.sessions import SessionStore; print(SessionStore.region)"
    program = (
        "import django; from django.conf import settings; settings.configure("
        "SESSION_REGION='files', INSTALLED_APPS=['django.contrib.sessions']); django.setup(); "
        f"{asked}"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "files\n", done.stderr


@pytest.mark.parametrize("engine", ["beaker_regions.django.sessions", CACHE_ENGINE])
def test_the_check_finds_sessions_without_a_right_region(
    cache: CacheManager, settings: Any, monkeypatch: pytest.MonkeyPatch, engine: str
) -> None:
    settings.SESSION_ENGINE = engine
    settings.CACHES = {
        "default": {
            "BACKEND": "beaker_regions.django.cache_backend.RegionCache",
            "LOCATION": "functions",
        }
    }
    assert check_sessions() == []
    if engine == CACHE_ENGINE:
        monkeypatch.setattr("beaker_regions.django.manager._manager", make_manager(type="memory"))
        wanted, hint = "regions.E003", "ext:memcached"
    else:
        monkeypatch.setattr(SessionStore, "region", "functoins")
        wanted, hint = "regions.E002", "functions"
    (error,) = check_sessions()
    assert error.id == wanted
    assert hint in f"{error.msg}{error.hint}"


def test_a_flushed_session_stays_deleted() -> None:
    key = stored(name="one")
    slow = SessionStore(key)
    slow["name"] = "two"
    SessionStore(key).flush()
    with pytest.raises(UpdateError, match="was deleted"):
        slow.save()
    assert seen(key) == {}
    assert not Session.objects.exists()


def test_a_row_that_other_code_deletes_or_saves_is_invalidated() -> None:
    deleted, saved = stored(name="one"), stored(name="one")
    assert seen(deleted) == seen(saved) == {"name": "one"}
    Session.objects.filter(session_key=deleted).delete()
    row = Session.objects.get(session_key=saved)
    row.session_data = SessionStore().encode({"name": "two"})
    row.save()
    assert seen(deleted) == {}
    assert seen(saved) == {"name": "two"}


def test_logging_out_ends_a_session_whose_row_was_deleted_in_sql() -> None:
    key = stored(name="one")
    assert seen(key) == {"name": "one"}
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM django_session")
    SessionStore(key).flush()
    assert seen(key) == {}


def test_a_rolled_back_save_changes_nothing() -> None:
    key = stored(name="one")
    assert seen(key) == {"name": "one"}
    with transaction.atomic():
        session = SessionStore(key)
        session["name"] = "two"
        session.save()
        assert SessionStore(key)["name"] == "two"
        if connection.vendor != "sqlite":
            assert seen(key) == {"name": "one"}
        transaction.set_rollback(True)
    assert SessionStore(key)["name"] == "one"
    assert seen(key) == {"name": "one"}


def test_a_key_in_another_case_is_no_session() -> None:
    """MySQL finds the row anyway; a copy under that key would remain after the deletion."""
    key = stored(name="one")
    assert seen(key.upper()) == {}
    assert seen(f"{key} ") == {}


def test_an_expired_session_is_not_read_and_is_deleted(
    later: Later, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = SessionStore(stored(name="one"))
    session.set_expiry(timedelta(seconds=60))
    session.save()
    assert session.session_key
    assert seen(session.session_key)["name"] == "one"
    lasting = stored(name="two")
    later(90)
    monkeypatch.setattr(timezone, "now", lambda: datetime.now(UTC) + timedelta(seconds=90))
    assert seen(session.session_key) == {}
    SessionStore.clear_expired()
    assert [row.session_key for row in Session.objects.all()] == [lasting]


def test_a_login_changes_the_key_and_a_logout_makes_it_invalid(
    django_user_model: type[User],
) -> None:
    user = django_user_model.objects.create_user("user", password="secret of the tests")
    client = Client()
    client.cookies["sessionid"] = before = stored(name="visitor")
    client.force_login(user)
    during = client.cookies["sessionid"].value
    assert during != before
    assert seen(before) == {}
    assert seen(during)["_auth_user_id"] == str(user.pk)
    client.logout()
    assert seen(during) == {}


def test_an_async_request_does_the_same() -> None:
    key = stored(name="one")
    other = SessionStore(key)
    other["other"] = 1

    @async_to_sync
    async def request() -> None:
        session = SessionStore(key)
        assert await session.aget("name") == "one"
        await session.aset("name", "two")
        await session.asave()
        await SessionStore.aclear_expired()

    assert other["name"] == "one"
    request()
    other.save()
    assert seen(key) == {"name": "two", "other": 1}
    async_to_sync(SessionStore(key).aflush)()
    assert seen(key) == {}
