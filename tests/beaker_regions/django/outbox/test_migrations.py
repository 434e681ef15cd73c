"""A release that changes the outbox's table: what is owed stays owed, forth and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from beaker_regions.django.outbox.delivery import Delivery
from beaker_regions.django.outbox.models import Owed
from beaker_regions.entries.entry import tag_scope

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.beaker_regions.django.conftest import Row

pytestmark = [
    pytest.mark.usefixtures("_as_it_was"),
    pytest.mark.parametrize("manager", ["file_manager"], indirect=True),
]
LABEL = "regions_outbox"


def migrate(name: str) -> Any:
    """Migrate the table there; return its model as it is then."""
    executor = MigrationExecutor(connection)
    target = (LABEL, name)
    return executor.migrate([target]).apps.get_model(LABEL, "Owed")


@pytest.fixture
def _as_it_was(transactional_db: None) -> Iterator[None]:
    yield
    executor = MigrationExecutor(connection)
    executor.migrate(executor.loader.graph.leaf_nodes(LABEL))


def test_what_a_former_release_owed_is_delivered_by_the_next(row: Row) -> None:
    former = migrate("0001_initial")
    assert row.read() == "old"
    User.objects.filter(pk=row.pk).update(first_name="new")
    written = former.objects.create(region="functions", scopes=tag_scope(f"user:{row.pk}"))
    migrate("0003_owed_owner")
    assert Owed.objects.values_list("pk", "created_at").get() == (written.pk, written.created_at)
    assert row.read() == "old"
    # A row of this moment, too: the former release took the time from its host.
    assert Delivery().deliver(older_than=-1) == 1
    assert row.read() == "new"
    assert not Owed.objects.exists()


def test_what_a_release_owes_that_is_taken_back_is_still_owed(row: Row) -> None:
    migrate("0003_owed_owner")
    owed = Owed.objects.create(region="functions", scopes=tag_scope(f"user:{row.pk}"))
    owed.refresh_from_db()
    former = migrate("0001_initial")
    kept = former.objects.get()
    assert (kept.region, kept.scopes) == (owed.region, owed.scopes)
    assert kept.created_at == owed.created_at
    former.objects.create(region="functions", scopes=tag_scope("other"))
    migrate("0003_owed_owner")
    assert Delivery().deliver(older_than=-1) == 2
