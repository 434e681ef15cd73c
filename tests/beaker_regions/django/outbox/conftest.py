"""What all tests of the outbox need."""

from __future__ import annotations

from weakref import WeakSet

import pytest

from beaker_regions.engine import region


@pytest.fixture(autouse=True)
def _no_regions_of_other_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    """A row is for every region of its name, those on servers that are gone included."""
    monkeypatch.setattr(region, "_regions", WeakSet())
