"""A release that changes the outbox's table: no pending row is lost, forwards and back."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.test.utils import CaptureQueriesContext

from beaker_regions.django.outbox.applying import Applier
from beaker_regions.django.outbox.models import PendingInvalidation
from beaker_regions.entries.entry import tag_scope

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.beaker_regions.django.conftest import Row

pytestmark = [
    pytest.mark.usefixtures("_restored_table"),
    pytest.mark.parametrize("manager", ["file_manager"], indirect=True),
]
LABEL = "regions_outbox"
LATEST = "0004_pending_invalidation"


def migrate(name: str, model: str = "Owed") -> Any:
    """Migrate the table to a release; return the model of that release."""
    executor = MigrationExecutor(connection)
    target = (LABEL, name)
    return executor.migrate([target]).apps.get_model(LABEL, model)


@pytest.fixture
def _restored_table(transactional_db: None) -> Iterator[None]:
    yield
    executor = MigrationExecutor(connection)
    executor.migrate(executor.loader.graph.leaf_nodes(LABEL))


def test_a_row_of_a_former_release_is_applied(row: Row) -> None:
    former = migrate("0001_initial")
    assert row.read() == "old"
    User.objects.filter(pk=row.pk).update(first_name="new")
    written = former.objects.create(region="functions", scopes=tag_scope(f"user:{row.pk}"))
    migrate(LATEST, "PendingInvalidation")
    kept = PendingInvalidation.objects.values_list("pk", "created_at").get()
    assert kept == (written.pk, written.created_at)
    assert row.read() == "old"
    # With -1, a row of this moment too: the former release took the time from its host.
    assert Applier().apply(older_than=-1) == 1
    assert row.read() == "new"
    assert not PendingInvalidation.objects.exists()


def test_a_row_stays_when_a_release_is_rolled_back(row: Row) -> None:
    migrate(LATEST, "PendingInvalidation")
    pending = PendingInvalidation.objects.create(
        region="functions", scopes=tag_scope(f"user:{row.pk}")
    )
    pending.refresh_from_db()
    former = migrate("0001_initial")
    kept = former.objects.get()
    assert (kept.region, kept.scopes) == (pending.region, pending.scopes)
    assert kept.created_at == pending.created_at
    former.objects.create(region="functions", scopes=tag_scope("other"))
    migrate(LATEST, "PendingInvalidation")
    assert Applier().apply(older_than=-1) == 2


def test_processes_of_the_former_release_use_the_table_during_an_upgrade(row: Row) -> None:
    former = migrate("0003_owed_owner")
    assert row.read() == "old"
    User.objects.filter(pk=row.pk).update(first_name="new")
    written = former.objects.create(region="functions", scopes=tag_scope(f"user:{row.pk}"))
    with CaptureQueriesContext(connection) as queries:
        migrate(LATEST, "PendingInvalidation")
    table = PendingInvalidation._meta.db_table
    changes = [each["sql"] for each in queries if table in each["sql"]]
    assert not changes, "the table and its rows stay as they are"
    later = former.objects.create(region="functions", scopes=tag_scope("other"))
    rows = PendingInvalidation.objects.order_by("pk")
    assert list(rows.values_list("pk", flat=True)) == [written.pk, later.pk]
    ours = PendingInvalidation.objects.create(region="another", scopes=tag_scope("third"))
    assert former.objects.get(pk=ours.pk).scopes == tag_scope("third")
    assert Applier().apply(older_than=-1) == 2
    assert row.read() == "new"
    assert list(former.objects.values_list("pk", flat=True)) == [ours.pk]


def test_check_says_that_the_table_is_missing(row: Row) -> None:
    out = io.StringIO()
    call_command("regions", "check", stdout=out)
    assert (
        "ok       outbox: table in database 'default': 0 invalidations are pending"
        in out.getvalue()
    )
    executor = MigrationExecutor(connection)
    executor.migrate([(LABEL, None)])
    out = io.StringIO()
    with pytest.raises(CommandError):
        call_command("regions", "check", stdout=out)
    assert "error    outbox: table in database 'default': the outbox's table" in out.getvalue()
    assert "run manage.py migrate" in out.getvalue()
    out, err = io.StringIO(), io.StringIO()
    call_command("regions", stdout=out, stderr=err)
    assert out.getvalue().startswith("region ")
    assert "error    outbox: table in database 'default': the outbox's table" in err.getvalue()
