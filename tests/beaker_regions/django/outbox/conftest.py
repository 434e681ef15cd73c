"""Fixtures of the outbox's tests."""

from __future__ import annotations

from weakref import WeakSet

import pytest

from beaker_regions.engine import region


@pytest.fixture(autouse=True)
def _no_regions_of_other_tests(monkeypatch: pytest.MonkeyPatch, undeclared: None) -> None:
    """A row is for each region of its name, also for those on stopped servers of other tests."""
    monkeypatch.setattr(region, "_regions", WeakSet())
