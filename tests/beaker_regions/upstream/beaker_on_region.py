"""What Beaker's own tests have for any type, on one of this library's; with `beaker_types`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from beaker_tests import test_session as theirs  # type: ignore[import-not-found]
from beaker_tests.test_managers.base import (  # type: ignore[import-not-found]
    CacheManagerBaseTests,
)
from beaker_types import CACHE_ARGS  # type: ignore[import-not-found]

if TYPE_CHECKING:
    from collections.abc import Callable


class TestType(CacheManagerBaseTests):  # type: ignore[misc]
    CACHE_ARGS = CACHE_ARGS


del CacheManagerBaseTests


@pytest.mark.parametrize(
    "check",
    [
        theirs.check_save_load,
        theirs.check_delete,
        theirs.check_revert,
        theirs.check_invalidate,
        theirs.check_timeout,
    ],
)
def test_session(check: Callable[[Any], None]) -> None:
    check(theirs.get_session)


class TestSessionObject(theirs.TestSessionObject):  # type: ignore[misc]
    def setUp(self) -> None:
        # Two of these tests give their session this name.
        theirs.get_session(id="123").delete()


class TestSaveAccessedTime(theirs.TestSaveAccessedTime):  # type: ignore[misc]
    def tearDown(self) -> None:
        # There is a folder only where the store has one.
        pass
