"""An invalidation takes effect with its transaction, or not at all."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import pytest
from django.contrib.auth.models import User
from django.core.handlers.base import BaseHandler
from django.db import connection, connections, transaction
from django.db.backends.sqlite3.base import DatabaseWrapper
from django.db.transaction import TransactionManagementError
from django.http import HttpResponse
from django.test import RequestFactory

from tests.beaker_regions.django.conftest import Row, elsewhere

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextlib.contextmanager
def rolled_back(using: str | None = None) -> Iterator[None]:
    """A transaction that ends with an exception."""
    with contextlib.suppress(ZeroDivisionError), transaction.atomic(using=using):
        yield
        fail()


def fail() -> None:
    raise ZeroDivisionError


def test_an_invalidation_takes_effect_at_the_commit(row: Row) -> None:
    assert row.read() == "old"
    with transaction.atomic():
        row.write("new")
        assert elsewhere(row.read) == "old", "others see the committed value"
        assert row.loads == 1, "and their entry is still valid"
        assert row.read() == "new", "the transaction sees its own write"
        assert elsewhere(row.read) == "old"
    assert (row.read(), elsewhere(row.read)) == ("new", "new")


def test_a_rolled_back_transaction_invalidates_and_stores_nothing(row: Row) -> None:
    assert row.read() == "old"
    with rolled_back():
        row.write("new")
        assert row.read() == "new"
    loads = row.loads
    assert (row.read(), elsewhere(row.read)) == ("old", "old")
    assert row.loads == loads, "the entry is still there"


def test_nothing_is_stored_from_within_a_transaction(row: Row) -> None:
    with rolled_back():
        User.objects.filter(pk=row.pk).update(first_name="never committed")
        assert row.read() == "never committed"
        row.cached_name.refresh(row.pk)
    assert (row.read(), elsewhere(row.read)) == ("old", "old")


def test_a_rolled_back_savepoint_discards_its_invalidations(row: Row) -> None:
    other = Row(row.cache)
    assert (row.read(), other.read()) == ("old", "old")
    with transaction.atomic():
        row.write("new")
        with rolled_back():
            other.write("never committed")
            assert other.read() == "never committed"
        # A hit again, unless the outbox has to be polled just then.
        assert other.read() == "old"
        loads = other.loads
    assert (row.read(), other.read()) == ("new", "old")
    assert other.loads == loads


def test_all_invalidations_of_a_transaction_are_applied_at_once(
    row: Row, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = row.cache["functions"].store.generation_store
    invalidate, applied = store.invalidate, []

    def recorded(scopes: Any, *args: Any) -> None:
        applied.append(set(scopes))
        invalidate(scopes, *args)

    monkeypatch.setattr(store, "invalidate", recorded)
    other = Row(row.cache)
    assert (row.read(), other.read()) == ("old", "old")
    with transaction.atomic():
        for number in range(20):
            row.write(f"name {number}")
        with transaction.atomic():
            other.write("new")
            row.write("new")
    assert len(applied) == 1
    assert len(applied[0]) == 2, "a tag for each row"
    assert (row.read(), other.read()) == ("new", "new")


def test_a_released_savepoint_keeps_its_invalidations(row: Row) -> None:
    assert row.read() == "old"
    with transaction.atomic():
        with transaction.atomic():
            row.write("new")
        assert elsewhere(row.read) == "old"
        assert row.read() == "new"
    assert elsewhere(row.read) == "new"


def test_an_exception_after_a_savepoint_discards_all_invalidations(row: Row) -> None:
    assert row.read() == "old"
    with rolled_back(), transaction.atomic():
        row.write("new")
    loads = row.loads
    assert row.read() == "old"
    assert row.loads == loads


def write_before_a_hook_that_raises(row: Row) -> None:
    with transaction.atomic():
        transaction.on_commit(fail)
        row.write("new")


def test_a_commit_hook_of_the_application_that_raises_loses_no_invalidation(row: Row) -> None:
    assert row.read() == "old"
    with pytest.raises(ZeroDivisionError):
        write_before_a_hook_that_raises(row)
    assert (row.read(), elsewhere(row.read)) == ("new", "new")


def test_a_commit_hook_of_the_application_runs_after_the_invalidation(row: Row) -> None:
    assert row.read() == "old"
    seen = []
    with transaction.atomic():
        transaction.on_commit(lambda: seen.append(row.read()))
        row.write("new")
    assert seen == ["new"]


@pytest.mark.parametrize("level", ["read committed", "repeatable read"])
def test_a_snapshot_older_than_an_invalidation_is_never_stored(
    row: Row, level: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if connection.vendor == "mysql":
        monkeypatch.setitem(connection.settings_dict["OPTIONS"], "isolation_level", level)
    if connection.vendor == "sqlite":
        # Reads of a deferred transaction have one snapshot; IMMEDIATE ones keep writers out.
        monkeypatch.setitem(connection.settings_dict["OPTIONS"], "transaction_mode", "DEFERRED")
    connection.close()
    with transaction.atomic():
        assert User.objects.get(pk=row.pk).first_name == "old"  # the snapshot is taken
        elsewhere(row.write, "new")
        row.read()
    assert (row.read(), elsewhere(row.read)) == ("new", "new")
    connection.close()


def test_with_atomic_requests_a_request_is_a_transaction(
    row: Row, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", True)
    handler = BaseHandler()

    def change(request: object) -> HttpResponse:
        row.write("new")
        assert elsewhere(row.read) == "old"
        return HttpResponse(row.read())

    assert row.read() == "old"
    response = handler.make_view_atomic(change)(RequestFactory().post("/"))
    assert isinstance(response, HttpResponse)
    assert response.content == b"new"
    assert (row.read(), elsewhere(row.read)) == ("new", "new")


@pytest.fixture
def other_database(transactional_db: None, tmp_path: Path) -> Iterator[str]:
    """A second database, used for its transactions alone."""
    options = connections["default"].settings_dict | {
        "NAME": str(tmp_path / "other.sqlite3"),
        "OPTIONS": {},
    }
    other = DatabaseWrapper(options, "other")
    # Tests may not connect to a database that they do not declare, so it is connected here.
    other.connect()
    connections.databases["other"] = options
    connections["other"] = other
    yield "other"
    other.close()
    del connections["other"]
    del connections.databases["other"]


def test_with_several_databases_each_commit_invalidates(row: Row, other_database: str) -> None:
    assert row.read() == "old"
    with transaction.atomic(using=other_database):
        with transaction.atomic():
            row.write("new")
            assert elsewhere(row.read) == "old"
        assert elsewhere(row.read) == "new", "the database with the row has committed"
    assert (row.read(), elsewhere(row.read)) == ("new", "new")


def test_a_rollback_of_one_database_keeps_the_invalidation_of_the_other(
    row: Row, other_database: str
) -> None:
    assert row.read() == "old"
    with transaction.atomic(), rolled_back(using=other_database):
        row.write("new")
        assert row.read() == "new"
    assert (row.read(), elsewhere(row.read)) == ("new", "new")


@pytest.mark.usefixtures("undeclared")
def test_manual_transactions_store_nothing_and_refuse_to_invalidate(row: Row) -> None:
    """Django does not report when they commit, so an invalidation is an error."""
    assert row.read() == "old"
    row.cache.invalidate_tags(f"user:{row.pk}")
    transaction.set_autocommit(False)
    try:
        User.objects.filter(pk=row.pk).update(first_name="never committed")
        assert row.read() == "never committed"
        with pytest.raises(TransactionManagementError):
            row.cache.invalidate_tags(f"user:{row.pk}")
        transaction.rollback()
    finally:
        transaction.set_autocommit(True)
    assert row.read() == "old"


def test_a_refresh_in_a_transaction_is_seen_after_the_commit(row: Row) -> None:
    assert row.read() == "old"
    with transaction.atomic():
        User.objects.filter(pk=row.pk).update(first_name="new")
        assert row.cached_name.refresh(row.pk) == "new"
        assert elsewhere(row.read) == "old"
    assert elsewhere(row.read) == "new"
