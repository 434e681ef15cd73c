"""Empty regions for each test that Django's own runner runs (``manage.py test``)."""

from __future__ import annotations

import functools
from typing import Any

from beaker_regions.config.isolation import folder
from beaker_regions.testing import fresh


def empty_regions_for_each_test() -> None:
    """Begin each of Django's test cases with empty regions, if this process runs tests; there is
    no signal for that. Called once, when the application is ready."""
    if folder() is None:
        return
    from django.test import SimpleTestCase

    run = SimpleTestCase.__call__

    @functools.wraps(run)
    def run_with_empty_regions(self: SimpleTestCase, *args: Any, **kwargs: Any) -> Any:
        fresh()
        return run(self, *args, **kwargs)

    SimpleTestCase.__call__ = run_with_empty_regions  # type: ignore[method-assign]
