"""Invalidations that outlive the process that owes them."""

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

from beaker_regions.django.outbox import delivery, poller
from beaker_regions.django.outbox.models import Owed
from beaker_regions.django.outbox.poller import OutboxPoller
from beaker_regions.engine import region, transactions
from beaker_regions.entries.entry import tag_scope
from tests.beaker_regions.conftest import make_manager
from tests.beaker_regions.django.conftest import Row, elsewhere

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.servers import Memcached


def in_a_child(function: Callable[[], None]) -> int:
    """Call a function in another process; return how that ended."""
    connections.close_all()
    child = os.fork()
    if child == 0:
        try:
            function()
        finally:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_a_process_that_dies_between_commit_and_delivery_loses_nothing(
    row: Row, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert row.read() == "old"

    def write_and_die() -> None:
        store = row.cache["functions"].store.generation_store
        monkeypatch.setattr(store, "invalidate", lambda *_: os._exit(9))
        with transaction.atomic():
            row.write("new")

    assert in_a_child(write_and_die) == 9
    assert row.read() == "old", "nobody has delivered it yet"
    assert delivery.Delivery().deliver(older_than=0) == 1
    assert row.read() == "new"
    assert delivery.Delivery().deliver(older_than=0) == 0


def test_a_process_that_dies_in_a_bulk_change_loses_nothing_it_has_committed(row: Row) -> None:
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
    assert row.read() == "old", "nobody has delivered it yet"
    loads = other.loads
    assert delivery.Delivery().deliver(older_than=0) == 1
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
            assert Owed.objects.count() == (3 if around == "each change" else 0)
    assert not Owed.objects.exists()
    assert row.read() == "name 2"


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("looks_at", ["requests", "its own functions"])
def test_what_one_host_owes_its_own_folder_no_other_host_takes_for_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, looks_at: str
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
    Owed.objects.update(created_at=timezone.now() - timedelta(minutes=1))
    host("another").read()
    OutboxPoller().at_request()
    assert Owed.objects.count() == 1, "it is not for that folder"
    region._regions.clear()
    region._regions.update(regions_of_one)
    monkeypatch.setattr(transactions.current, "_lookout", OutboxPoller())
    if looks_at == "requests":
        OutboxPoller().at_request()
    assert one.read() == "new"
    assert not Owed.objects.exists()


def test_a_process_that_dies_before_the_commit_leaves_nothing(row: Row) -> None:
    assert row.read() == "old"

    def write_and_die() -> None:
        with transaction.atomic():
            row.write("new")
            os._exit(9)

    assert in_a_child(write_and_die) == 9
    assert not Owed.objects.exists()
    loads = row.loads
    assert row.read() == "old"
    assert row.loads == loads


def test_what_is_delivered_is_not_kept(row: Row) -> None:
    with transaction.atomic():
        row.write("new")
        assert Owed.objects.count() == 1
        assert elsewhere(Owed.objects.count) == 0
    assert not Owed.objects.exists()


def test_what_is_invalidated_over_and_over_is_kept_once(row: Row) -> None:
    with transaction.atomic():
        for number in range(20):
            row.write(f"name {number}")
        assert Owed.objects.count() == 1
        with transaction.atomic():
            row.write("new")
            row.cache.invalidate_tags("another")
            assert Owed.objects.count() == 3, "the savepoint of one may be rolled back"
    assert not Owed.objects.exists()


def test_what_is_in_flight_is_left_to_its_process(row: Row) -> None:
    Owed.objects.create(region="functions", scopes="tag")
    assert delivery.Delivery().deliver() == 0
    assert Owed.objects.exists()


def test_a_region_that_nobody_here_has_is_left_to_others_for_some_days(
    row: Row, caplog: pytest.LogCaptureFixture
) -> None:
    Owed.objects.create(region="another", scopes="tag")
    assert delivery.Delivery().deliver(older_than=0) == 0
    assert Owed.objects.exists()
    Owed.objects.update(created_at=timezone.now() - timedelta(days=8))
    assert delivery.Delivery().deliver(older_than=0) == 0
    assert not Owed.objects.exists()
    assert "given up" in caplog.text


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("type_", ["ext:memcached", "file"])
def test_what_a_server_could_not_take_stays_until_it_can(
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
    assert delivery.Delivery().deliver(older_than=0) == 0
    assert Owed.objects.count() == 1
    own_memcached.start()
    assert delivery.Delivery().deliver(older_than=0) == 1


@pytest.mark.django_db(transaction=True)
def test_what_a_host_could_not_deliver_another_delivers_at_once_by_any_clock(
    own_memcached: Memcached, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = make_manager(
        "clocks", type="ext:memcached", url=own_memcached.address, secret="of the tests", timeout=1
    )
    with monkeypatch.context() as ahead:
        ahead.setattr(timezone, "now", lambda: datetime.now(UTC) + timedelta(minutes=1))
        own_memcached.kill()
        with transaction.atomic():
            cache.invalidate_tags("some")
        Owed.objects.create(region="clocks", scopes=tag_scope("other"))
    own_memcached.start()
    assert delivery.Delivery().deliver() == 1
    assert delivery.Delivery().deliver(older_than=0) == 1


@pytest.mark.django_db(transaction=True)
def test_what_one_server_could_not_take_is_delivered_once_to_the_others(
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

    def go() -> None:
        assert read_all() == read_all() == [1] * 20
        own_memcached.kill()
        for number in range(20):
            Owed.objects.create(region="partly", scopes=tag_scope(f"number:{number}"))
        here = delivery.Delivery()
        assert here.deliver(older_than=0) == 0
        read_all()
        healthy = {number for number in range(20) if load.peek(number)}
        assert 0 < len(healthy) < 20
        before = [load(number) for number in sorted(healthy)]
        for _ in range(3):
            assert here.deliver(older_than=0) == 0
        after = [load(number) for number in sorted(healthy)]
        assert sum(was != now for was, now in zip(before, after, strict=True)) <= 1
        own_memcached.start()
        assert here.deliver(older_than=0) == 20
        assert min(read_all()) > 1
        assert not Owed.objects.exists()

    # On a thread of its own, whose connections end with it.
    elsewhere(go)


def test_requests_deliver_what_was_left(
    row: Row, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    Owed.objects.create(region="functions", scopes="tag")
    Owed.objects.update(created_at=timezone.now() - timedelta(minutes=1))
    monkeypatch.setattr(poller, "POLL_BUSY", 60.0)
    # Signals reach the process's own, too, which is not to go by that afterwards.
    monkeypatch.setattr(transactions.current._lookout, "_until", 0.0)  # type: ignore[attr-defined]
    look = OutboxPoller().at_request
    request_started.connect(look)
    try:
        request_started.send(sender=None)
        assert not Owed.objects.exists()
        assert "1 invalidations were left behind" in caplog.text
        with CaptureQueriesContext(connection) as queries:
            request_started.send(sender=None)
        assert not queries.captured_queries, "not at every request"
    finally:
        request_started.disconnect(look)


def test_a_database_that_is_away_is_said_and_harms_nobody(
    row: Row, caplog: pytest.LogCaptureFixture
) -> None:
    with connection.schema_editor() as editor:
        editor.delete_model(Owed)
    try:
        OutboxPoller().at_request()
        assert "the outbox cannot be read" in caplog.text
    finally:
        with connection.schema_editor() as editor:
            editor.create_model(Owed)
