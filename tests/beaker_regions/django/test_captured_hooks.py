"""Test cases that run their commit hooks themselves (`captureOnCommitCallbacks`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from django.db import connection, transaction

from tests.beaker_regions.conftest import make_manager
from tests.beaker_regions.django.conftest import elsewhere

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_django import DjangoCaptureOnCommitCallbacks

    from beaker_regions import CacheManager
    from tests.beaker_regions.conftest import Calls

pytestmark = pytest.mark.django_db


@pytest.fixture
def cache(tmp_path: Path, shelf: str) -> CacheManager:
    return make_manager(shelf, type="file", data_dir=tmp_path, secret="of the tests")


def test_an_invalidation_in_a_block_takes_effect_at_its_end(
    cache: CacheManager,
    shelf: str,
    calls: Calls,
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    @cache.region(shelf)
    def load(number: int) -> int:
        return calls()

    ran: list[str] = []
    # The setup of a test case leaves hooks in the list.
    load.invalidate(1)
    transaction.on_commit(lambda: ran.append("early"))
    assert elsewhere(load, 1) == 1
    for expected in (2, 3):
        with django_capture_on_commit_callbacks(execute=True):
            load.invalidate(1)
            transaction.on_commit(lambda: ran.append("late"))
            assert elsewhere(load, 1) == expected - 1, "not before the end of the block"
        assert ran == ["late"] * (expected - 1), "each hook once, and none of before"
        assert elsewhere(load, 1) == expected
    with django_capture_on_commit_callbacks(execute=True):
        with transaction.atomic():
            load.invalidate(1)
            transaction.set_rollback(True)
        with transaction.atomic():
            pass
    assert elsewhere(load, 1) == 3, "a savepoint was rolled back"
    with django_capture_on_commit_callbacks() as captured, transaction.atomic():
        load.invalidate(1)
    assert elsewhere(load, 1) == 3
    for callback in captured:
        callback()
    assert elsewhere(load, 1) == 4


def test_a_hook_that_has_run_is_no_longer_pending(
    cache: CacheManager,
    shelf: str,
    calls: Calls,
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    @cache.region(shelf)
    def load() -> int:
        return calls()

    assert elsewhere(load) == 1
    with django_capture_on_commit_callbacks(execute=True):
        load.invalidate()
        assert load.peek() is None
    assert elsewhere(load) == load.peek() == 2
    assert connection.in_atomic_block
