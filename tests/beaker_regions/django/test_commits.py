"""Commits whose outcome is unknown, on a real MariaDB."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from django.db import IntegrityError, OperationalError, connection, connections, router, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from beaker_regions.django.outbox.applying import Applier
from beaker_regions.django.outbox.models import PendingInvalidation
from beaker_regions.django.outbox.poller import OutboxPoller
from beaker_regions.engine import invalidation, region
from beaker_regions.engine.store import EVERYBODY
from beaker_regions.entries.entry import tag_scope
from settings.databases import database
from tests.beaker_regions.conftest import make_manager
from tests.beaker_regions.django.conftest import elsewhere
from tests.beaker_regions.django.databases import LosingProxy
from tests.servers import MariaDB

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from beaker_regions import CacheManager
    from tests.servers import Memcached

pytestmark = pytest.mark.django_db(transaction=True)

FAR = "far"


@pytest.fixture(scope="module")
def _mariadb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MariaDB]:
    server = MariaDB(tmp_path_factory.mktemp("mariadb") / "data")
    server.start()
    yield server
    server.stop()


@pytest.fixture
def proxy(
    _mariadb: MariaDB, transactional_db: None, monkeypatch: pytest.MonkeyPatch
) -> Iterator[LosingProxy]:
    """A second database "far", with a table "names", behind a proxy."""
    # Tests may not connect to a database that they do not declare.
    monkeypatch.setattr(BaseDatabaseWrapper, "ensure_connection", connected)
    proxy = LosingProxy(_mariadb.port)
    options = connections["default"].settings_dict | database(
        f"mysql://root@127.0.0.1:{proxy.port}/mysql"
    )
    connections.databases[FAR] = options
    ask("CREATE DATABASE IF NOT EXISTS tests")
    options["NAME"] = "tests"
    connections[FAR].close()
    ask("CREATE OR REPLACE TABLE names (name VARCHAR(20) UNIQUE) ENGINE=InnoDB")
    ask("INSERT INTO names VALUES ('old')")
    yield proxy
    connections[FAR].close()
    del connections[FAR]
    del connections.databases[FAR]
    proxy.close()


def connected(self: BaseDatabaseWrapper) -> None:
    if self.connection is None:
        with self.wrap_database_errors:
            self.connect()


def ask(sql: str) -> Any:
    with connections[FAR].cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchone() if cursor.description else None


class Names:
    """A cached function of the far database."""

    def __init__(self, cache: CacheManager) -> None:
        self.loads = 0

        @cache.region("functions", tags=["names"])
        def name() -> str:
            self.loads += 1
            return str(ask("SELECT name FROM names")[0])

        self.read = name
        self.cache = cache

    def write(self) -> None:
        with transaction.atomic(using=FAR):
            ask("UPDATE names SET name = 'new'")
            self.cache.invalidate_tags("names")


@pytest.fixture
def names(tmp_path: Path, proxy: LosingProxy) -> Names:
    return Names(make_manager(type="file", data_dir=tmp_path / "regions", secret="of the tests"))


@pytest.mark.parametrize(
    ("loses", "found"), [("answer", "new"), ("next", "new"), ("question", "old")]
)
def test_a_commit_with_an_unknown_outcome_leaves_nothing_stale(
    names: Names, proxy: LosingProxy, loses: str, found: str
) -> None:
    assert names.read() == "old"
    proxy.loses = loses
    with pytest.raises(OperationalError):
        names.write()
    proxy.loses = ""
    connections[FAR].close()  # Django does it at the end of a request if the connection is broken
    assert names.read() == names.read() == found
    assert names.loads == 2
    names.write()
    assert names.read() == "new"


def test_a_refused_commit_invalidates_nothing(names: Names) -> None:
    if not connection.features.can_defer_constraint_checks:
        pytest.skip("this database refuses statements, and no commit")
    assert names.read() == "old"
    with connection.schema_editor() as editor:
        editor.execute("CREATE TABLE over (pk INTEGER PRIMARY KEY)")
        editor.execute(
            "CREATE TABLE under (pk INTEGER REFERENCES over DEFERRABLE INITIALLY DEFERRED)"
        )

    def write() -> None:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("INSERT INTO under VALUES (1)")
            names.cache.invalidate_tags("names")

    with pytest.raises(IntegrityError):
        write()
    assert [names.read(), names.loads] == ["old", 1]


class OutboxFarAway:
    """A router for the table of the outbox."""

    def db_for_write(self, model: Any, **hints: Any) -> str | None:
        return FAR if model is PendingInvalidation else None

    db_for_read = db_for_write


@pytest.fixture
def far_outbox(proxy: LosingProxy, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.DATABASE_ROUTERS = [OutboxFarAway()]
    assert router.db_for_write(PendingInvalidation) == FAR
    ask("DROP TABLE IF EXISTS regions_outbox_owed")
    with connections[FAR].schema_editor() as editor:
        editor.create_model(PendingInvalidation)
    monkeypatch.setattr(invalidation.transactions, "_poller", OutboxPoller())


def die_idle() -> None:
    """Let the server end this thread's connection, as it does after an idle time."""
    (number,) = ask("SELECT CONNECTION_ID()")
    elsewhere(ask, f"KILL {number}")


@pytest.mark.usefixtures("far_outbox")
def test_a_thread_with_a_dead_idle_connection_writes_its_row(
    own_memcached: Memcached,
) -> None:
    cache = make_manager(
        type="ext:memcached", url=own_memcached.address, secret="of the tests", timeout=0.05
    )
    own_memcached.kill()
    ask("SELECT 1")
    die_idle()
    cache.invalidate_tags("names")
    assert list(PendingInvalidation.objects.values_list("scopes", "owner")) == [
        (tag_scope("names"), EVERYBODY)
    ]


@pytest.mark.usefixtures("far_outbox")
def test_a_thread_with_a_dead_idle_connection_reads_nothing_stale(
    memcached: Memcached, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(region, "_regions", type(region._regions)())
    names = Names(make_manager(type="ext:memcached", url=memcached.address, secret="of the tests"))
    assert names.read() == "old"
    ask("UPDATE names SET name = 'new'")
    PendingInvalidation.objects.create(
        region="functions", scopes=tag_scope("names"), owner=EVERYBODY
    )
    ask("UPDATE regions_outbox_owed SET created_at = created_at - INTERVAL 1 MINUTE")
    invalidation.transactions._poller._valid_until = 0.0  # type: ignore[attr-defined]
    die_idle()
    assert names.read() == "new"
    assert Applier().apply(older_than=0) == 0
