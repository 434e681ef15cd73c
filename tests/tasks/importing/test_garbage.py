"""The garbage collector during an import, and afterwards."""

from __future__ import annotations

import gc

from tasks.importing.garbage import rarely_collected


def test_after_a_run_the_collector_is_as_before() -> None:
    before = gc.get_threshold(), gc.get_freeze_count()
    with rarely_collected():
        assert gc.get_freeze_count() > before[1]
    assert (gc.get_threshold(), gc.get_freeze_count()) == before
