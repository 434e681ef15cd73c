"""Tags that lead through other rows, while another transaction changes those rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from django.db import connection, connections, transaction

from tests.beaker_regions.django.conftest import elsewhere
from tests.beaker_regions.django.models.models import Book, Shelf

if TYPE_CHECKING:
    from tests.beaker_regions.django.models.conftest import World


@pytest.mark.django_db(transaction=True)
def test_a_foreign_key_that_another_transaction_changes_is_followed_again(world: World) -> None:
    if connection.vendor == "sqlite":
        pytest.skip("there, one transaction at a time writes")
    book = Book.objects.select_related("shelf").first()
    assert book is not None
    before = book.shelf.owner_id
    after = next(pk for pk in (1, 2, 3) if pk != before)

    def give_away() -> None:
        Shelf.objects.filter(pk=book.shelf_id).update(owner=after)
        world.read()  # stores the rows of the new owner, with the unchanged book
        connections.close_all()

    with transaction.atomic():
        Book.objects.filter(pk=book.pk).update(pages=77)
        elsewhere(give_away)
    assert world.stale() == []
