"""No host reads a value that a host without its server has invalidated."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from django.contrib.auth.models import User
from django.db import connection, connections, transaction

from beaker_regions.django.outbox import poller
from beaker_regions.django.outbox.models import DatabaseNow, PendingInvalidation
from beaker_regions.django.outbox.poller import OutboxPoller
from beaker_regions.engine import invalidation, region
from tests.beaker_regions.conftest import make_manager
from tests.beaker_regions.django.conftest import Row
from tests.beaker_regions.stores.proxies import Proxy

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_django import DjangoDbBlocker

    from beaker_regions import CacheManager
    from tests.servers import Memcached

processes = multiprocessing.get_context("fork")

pytestmark = pytest.mark.django_db(transaction=True)


def manager(address: str, **options: Any) -> CacheManager:
    return make_manager(
        **{"type": "ext:memcached", "url": address, "secret": "of the tests", **options}
    )


class AnotherHost:
    """A process without this one's state that reaches memcached at another address. It calls a
    function once, and reports when the call has returned."""

    def __init__(self, address: str, folder: Path, do: Callable[[CacheManager], None]) -> None:
        connections.close_all()
        self._reports, theirs = processes.Pipe(duplex=False)
        self._child = os.fork()
        if self._child:
            theirs.close()
            return
        try:
            region._regions.clear()
            do(manager(address, data_dir=folder, timeout=0.05))
            theirs.send("returned")
            signal.pause()
        finally:
            os._exit(1)

    @property
    def has_returned(self) -> bool:
        return bool(self._reports.poll())

    def wait(self) -> None:
        assert self._reports.recv() == "returned"

    def end(self) -> None:
        os.kill(self._child, signal.SIGKILL)
        os.waitpid(self._child, 0)


def cut_off(memcached: Memcached) -> str:
    """Return an address of the server that does not answer."""
    proxy = Proxy(memcached.port)
    proxy.close()
    return proxy.address


def in_a_transaction(row: Row, cache: CacheManager) -> None:
    with transaction.atomic():
        User.objects.filter(pk=row.pk).update(first_name="new")
        cache.invalidate_tags(f"user:{row.pk}")


def outside_of_a_transaction(row: Row, cache: CacheManager) -> None:
    User.objects.filter(pk=row.pk).update(first_name="new")
    cache.invalidate_tags(f"user:{row.pk}")


@pytest.fixture
def hosts(memcached: Memcached, tmp_path: Path) -> Iterator[Callable[..., AnotherHost]]:
    """Make other hosts; they end with the test."""
    made: list[AnotherHost] = []

    def make(address: str, do: Callable[[CacheManager], None]) -> AnotherHost:
        made.append(AnotherHost(address, tmp_path / f"host {len(made)}", do))
        return made[-1]

    yield make
    for host in made:
        host.end()


@pytest.mark.parametrize("change", [in_a_transaction, outside_of_a_transaction])
def test_an_invalidation_by_a_host_without_its_server_is_seen_by_all(
    memcached: Memcached,
    hosts: Callable[..., AnotherHost],
    change: Callable[[Row, CacheManager], None],
) -> None:
    row = Row(manager(memcached.address))
    for _ in range(3):
        User.objects.filter(pk=row.pk).update(first_name="old")
        row.cached_name.invalidate(row.pk)
        assert row.read() == "old"
        host = hosts(cut_off(memcached), lambda cache: change(row, cache))
        while not host.has_returned:
            row.read()
        assert row.read() == "new"
    assert not PendingInvalidation.objects.exists()


def after_a_long_transaction_of_another(row: Row, cache: CacheManager) -> None:
    with transaction.atomic():
        row_of_another = PendingInvalidation.objects.create(region="another", scopes="tag")
        PendingInvalidation.objects.filter(pk=row_of_another.pk).update(
            created_at=DatabaseNow() - timedelta(seconds=7)
        )
    in_a_transaction(row, cache)


def test_an_old_row_that_appears_late_is_no_sign_that_others_know_of_it(
    memcached: Memcached, hosts: Callable[..., AnotherHost]
) -> None:
    row = Row(manager(memcached.address))
    assert row.read() == row.read() == "old"
    invalidation.transactions._poller._valid_until = 0.0  # type: ignore[attr-defined]
    assert row.read() == "old", "this process has just polled, and found no row"
    host = hosts(cut_off(memcached), lambda cache: after_a_long_transaction_of_another(row, cache))
    while not host.has_returned:
        row.read()
    assert row.read() == "new"


def test_a_value_that_a_host_cannot_replace_is_not_read(
    memcached: Memcached, hosts: Callable[..., AnotherHost]
) -> None:
    values = manager(memcached.address).values("functions", "values")
    values.set("key", "old")
    assert values.get("key") == "old"
    host = hosts(
        cut_off(memcached), lambda cache: cache.values("functions", "values").set("key", "new")
    )
    while not host.has_returned:
        values.get("key")
    assert values.get("key") is None


def test_a_server_that_comes_back_has_no_stale_value_for_another_host(
    own_memcached: Memcached, hosts: Callable[..., AnotherHost]
) -> None:
    row = Row(manager(own_memcached.address, retry=0.01))
    assert row.read() == row.read() == "old"
    own_memcached.pause()
    hosts(own_memcached.address, lambda cache: in_a_transaction(row, cache)).wait()
    own_memcached.resume()
    assert row.read() == "new"


def test_a_transaction_waits_for_others_once(
    memcached: Memcached, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[int] = []
    monkeypatch.setattr(OutboxPoller, "wait_for_others", lambda _, rows: waited.append(len(rows)))
    cache = manager(cut_off(memcached))
    with transaction.atomic():
        for number in range(10):
            cache.invalidate_tags(f"tag {number}")
        with transaction.atomic():
            cache.invalidate_tags("another")
            transaction.set_rollback(True)
    assert waited == [10]


def test_an_applied_invalidation_does_not_wait_for_others(
    memcached: Memcached, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(OutboxPoller, "wait_for_others")
    cache = manager(memcached.address)
    with transaction.atomic():
        cache.invalidate_tags("tag")
    cache.invalidate_tags("tag")


def test_a_region_of_one_host_does_not_wait_for_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(OutboxPoller, "wait_for_others")
    cache = make_manager(type="file", data_dir=tmp_path / "regions", secret="of the tests")
    cache.invalidate_region("functions")
    with transaction.atomic():
        cache.invalidate_tags("tag")
    (tmp_path / "regions" / "functions").rename(tmp_path / "away")
    (tmp_path / "regions" / "functions").write_text("no folder")
    with transaction.atomic():
        cache.invalidate_tags("tag")
    cache.invalidate_tags("tag")
    assert PendingInvalidation.objects.count() == 1


def test_in_a_transaction_longer_than_a_poll_is_valid_functions_run(
    memcached: Memcached, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = Row(make_manager(type="file", data_dir=tmp_path / "regions", secret="of the tests"))
    row = Row(manager(memcached.address))
    assert [row.read(), own.read()] == [row.read(), own.read()] == ["old", "old"]
    monkeypatch.setattr(poller, "POLL_IDLE", 0.0)
    monkeypatch.setattr(invalidation.transactions, "_poller", poller.OutboxPoller())
    with transaction.atomic():
        assert [row.read(), own.read()] == [row.read(), own.read()] == ["old", "old"]
    assert [row.loads, own.loads] == [3, 1]
    assert [row.read(), row.loads] == ["old", 3]


def test_an_unreadable_table_does_not_keep_a_process_from_reading(
    memcached: Memcached, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = Row(manager(memcached.address))
    assert row.read() == "old"
    away = cut_off(memcached)
    with connection.schema_editor() as editor:
        editor.delete_model(PendingInvalidation)
    try:
        monkeypatch.setattr(invalidation.transactions, "_poller", poller.OutboxPoller())
        assert [row.read(), row.loads] == ["old", 1]
        assert "the outbox cannot be read" in caplog.text
        manager(away).invalidate_tags("tag")
        assert "other hosts cannot know of an invalidation" in caplog.text
    finally:
        with connection.schema_editor() as editor:
            editor.create_model(PendingInvalidation)


def test_a_poll_leaves_no_open_connection(memcached: Memcached) -> None:
    row = Row(manager(memcached.address))
    assert row.read() == "old"
    connections.close_all()
    invalidation.transactions._poller._valid_until = 0.0  # type: ignore[attr-defined]
    assert [row.read(), row.loads] == ["old", 1]
    assert connection.connection is None


def test_a_poll_where_the_database_may_not_be_used_is_no_error(
    django_db_blocker: DjangoDbBlocker,
) -> None:
    """As in a test of an application that has no mark for the database."""
    connection.close()
    with django_db_blocker.block():
        assert OutboxPoller().is_current()
