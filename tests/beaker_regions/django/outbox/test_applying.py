"""Invalidations that survive the process that made them."""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from django.core.signals import request_started
from django.db import connection, connections, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from beaker_regions.django.outbox import poller
from beaker_regions.django.outbox.applying import Applier
from beaker_regions.django.outbox.models import PendingInvalidation
from beaker_regions.django.outbox.poller import OutboxPoller
from beaker_regions.engine import invalidation, region
from beaker_regions.entries.entry import tag_scope
from tests.beaker_regions.conftest import make_manager
from tests.beaker_regions.django.conftest import Row, elsewhere

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.servers import Memcached


def in_a_child(function: Callable[[], None]) -> int:
    """Call a function in another process. Return its exit status."""
    connections.close_all()
    child = os.fork()
    if child == 0:
        try:
            function()
        finally:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_a_crash_after_the_commit_loses_no_invalidation(
    row: Row, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert row.read() == "old"

    def write_and_die() -> None:
        store = row.cache["functions"].store.generation_store
        monkeypatch.setattr(store, "invalidate", lambda *_: os._exit(9))
        with transaction.atomic():
            row.write("new")

    assert in_a_child(write_and_die) == 9
    assert row.read() == "old", "no process has applied it yet"
    assert Applier().apply(older_than=0) == 1
    assert row.read() == "new"
    assert Applier().apply(older_than=0) == 0


def test_a_crash_in_a_bulk_change_loses_no_committed_invalidation(row: Row) -> None:
    other = Row(row.cache)
    assert (row.read(), other.read()) == ("old", "old")

    def write_and_die() -> None:
        with row.cache.deferred_invalidation():
            with transaction.atomic():
                row.write("new")
                with contextlib.suppress(ZeroDivisionError), transaction.atomic():
                    other.write("never committed")
                    raise ZeroDivisionError
            os._exit(9)

    assert in_a_child(write_and_die) == 9
    assert row.read() == "old", "no process has applied it yet"
    loads = other.loads
    assert Applier().apply(older_than=0) == 1
    assert (row.read(), other.read()) == ("new", "old")
    assert other.loads == loads


@pytest.mark.parametrize("around", ["each change", "all of it", "nothing"])
def test_a_bulk_change_leaves_no_row_behind(row: Row, around: str) -> None:
    with contextlib.ExitStack() as stack:
        if around == "all of it":
            stack.enter_context(transaction.atomic())
        with row.cache.deferred_invalidation():
            for number in range(3):
                with transaction.atomic() if around != "nothing" else contextlib.nullcontext():
                    row.write(f"name {number}")
            assert PendingInvalidation.objects.count() == (3 if around == "each change" else 0)
    assert not PendingInvalidation.objects.exists()
    assert row.read() == "name 2"


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("polled_by", ["a request", "a cached function"])
def test_a_row_for_the_folder_of_a_host_is_not_applied_by_another_host(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, polled_by: str
) -> None:
    def host(name: str) -> Row:
        region._regions.clear()
        return Row(make_manager(type="file", data_dir=tmp_path / name, secret="of the tests"))

    one = host("one")
    assert one.read() == "old"

    def write_and_die() -> None:
        store = one.cache["functions"].store.generation_store
        monkeypatch.setattr(store, "invalidate", lambda *_: os._exit(9))
        with transaction.atomic():
            one.write("new")

    assert in_a_child(write_and_die) == 9
    regions_of_one = list(region._regions)
    PendingInvalidation.objects.update(created_at=timezone.now() - timedelta(minutes=1))
    host("another").read()
    OutboxPoller().at_request()
    assert PendingInvalidation.objects.count() == 1, "the row is for another folder"
    region._regions.clear()
    region._regions.update(regions_of_one)
    monkeypatch.setattr(invalidation.transactions, "_poller", OutboxPoller())
    if polled_by == "a request":
        OutboxPoller().at_request()
    assert one.read() == "new"
    assert not PendingInvalidation.objects.exists()


def test_a_crash_before_the_commit_leaves_no_row(row: Row) -> None:
    assert row.read() == "old"

    def write_and_die() -> None:
        with transaction.atomic():
            row.write("new")
            os._exit(9)

    assert in_a_child(write_and_die) == 9
    assert not PendingInvalidation.objects.exists()
    loads = row.loads
    assert row.read() == "old"
    assert row.loads == loads


def test_an_applied_invalidation_leaves_no_row(row: Row) -> None:
    with transaction.atomic():
        row.write("new")
        assert PendingInvalidation.objects.count() == 1
        assert elsewhere(PendingInvalidation.objects.count) == 0
    assert not PendingInvalidation.objects.exists()


def test_a_repeated_invalidation_has_one_row(row: Row) -> None:
    with transaction.atomic():
        for number in range(20):
            row.write(f"name {number}")
        assert PendingInvalidation.objects.count() == 1
        with transaction.atomic():
            row.write("new")
            row.cache.invalidate_tags("another")
            assert PendingInvalidation.objects.count() == 3, (
                "the savepoint of one may be rolled back"
            )
    assert not PendingInvalidation.objects.exists()


def test_a_new_row_is_left_to_its_process(row: Row) -> None:
    PendingInvalidation.objects.create(region="functions", scopes="tag")
    assert Applier().apply() == 0
    assert PendingInvalidation.objects.exists()


def test_rows_of_an_unknown_region_are_discarded_after_some_days(
    row: Row, caplog: pytest.LogCaptureFixture
) -> None:
    PendingInvalidation.objects.create(region="another", scopes="tag")
    assert Applier().apply(older_than=0) == 0
    assert PendingInvalidation.objects.exists()
    PendingInvalidation.objects.update(created_at=timezone.now() - timedelta(days=8))
    assert Applier().apply(older_than=0) == 0
    assert not PendingInvalidation.objects.exists()
    assert "discarded" in caplog.text


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("type_", ["ext:memcached", "file"])
def test_a_row_stays_until_its_server_is_back(
    own_memcached: Memcached, tmp_path: Path, type_: str
) -> None:
    where: dict[str, Any] = {"url": own_memcached.address}
    if type_ == "file":
        where = {"data_dir": tmp_path, "cluster": "servers", "servers": where}
    cache = make_manager(type=type_, secret="of the tests", **where)

    def invalidate() -> None:
        with transaction.atomic():
            cache.invalidate_region("functions")

    own_memcached.kill()
    invalidate()
    assert Applier().apply(older_than=0) == 0
    assert PendingInvalidation.objects.count() == 1
    own_memcached.start()
    assert Applier().apply(older_than=0) == 1


@pytest.mark.django_db(transaction=True)
def test_another_host_applies_a_row_at_once_with_any_clock(
    own_memcached: Memcached, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = make_manager(
        "clocks", type="ext:memcached", url=own_memcached.address, secret="of the tests", timeout=1
    )
    with monkeypatch.context() as clock:
        clock.setattr(timezone, "now", lambda: datetime.now(UTC) + timedelta(minutes=1))
        own_memcached.kill()
        with transaction.atomic():
            cache.invalidate_tags("some")
        PendingInvalidation.objects.create(region="clocks", scopes=tag_scope("other"))
    own_memcached.start()
    assert Applier().apply() == 1
    assert Applier().apply(older_than=0) == 1


@pytest.mark.django_db(transaction=True)
def test_while_one_server_is_unavailable_the_others_are_invalidated_once(
    own_memcached: Memcached, memcached: Memcached
) -> None:
    servers = [memcached.address, own_memcached.address]
    cache = make_manager(
        "partly", type="ext:memcached", url=servers, secret="of the tests", retry=0.01, timeout=1
    )
    loads: Counter[int] = Counter()

    @cache.region("partly", tags=["number:{number}"])
    def load(number: int) -> int:
        loads[number] += 1
        return loads[number]

    def read_all() -> list[int]:
        return [load(number) for number in range(20)]

    def run() -> None:
        assert read_all() == read_all() == [1] * 20
        own_memcached.kill()
        for number in range(20):
            PendingInvalidation.objects.create(
                region="partly", scopes=tag_scope(f"number:{number}")
            )
        here = Applier()
        assert here.apply(older_than=0) == 0
        read_all()
        healthy = {number for number in range(20) if load.peek(number)}
        assert 0 < len(healthy) < 20
        before = [load(number) for number in sorted(healthy)]
        for _ in range(3):
            assert here.apply(older_than=0) == 0
        after = [load(number) for number in sorted(healthy)]
        assert sum(old != new for old, new in zip(before, after, strict=True)) <= 1
        own_memcached.start()
        assert here.apply(older_than=0) == 20
        assert min(read_all()) > 1
        assert not PendingInvalidation.objects.exists()

    # On another thread: its connections end with it.
    elsewhere(run)


def test_a_request_applies_unclaimed_rows(
    row: Row, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    PendingInvalidation.objects.create(region="functions", scopes="tag")
    PendingInvalidation.objects.update(created_at=timezone.now() - timedelta(minutes=1))
    monkeypatch.setattr(poller, "POLL_BUSY", 60.0)
    # The signal reaches the poller of this process, too: undo its poll afterwards.
    monkeypatch.setattr(invalidation.transactions._poller, "_valid_until", 0.0)  # type: ignore[attr-defined]
    poll = OutboxPoller().at_request
    request_started.connect(poll)
    try:
        request_started.send(sender=None)
        assert not PendingInvalidation.objects.exists()
        assert "applied 1 pending invalidations" in caplog.text
        with CaptureQueriesContext(connection) as queries:
            request_started.send(sender=None)
        assert not queries.captured_queries, "not at every request"
    finally:
        request_started.disconnect(poll)


def test_an_unreadable_table_is_logged_and_harms_no_request(
    row: Row, caplog: pytest.LogCaptureFixture
) -> None:
    with connection.schema_editor() as editor:
        editor.delete_model(PendingInvalidation)
    try:
        OutboxPoller().at_request()
        assert "the outbox cannot be read" in caplog.text
    finally:
        with connection.schema_editor() as editor:
            editor.create_model(PendingInvalidation)
