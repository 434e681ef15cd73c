"""The plugin of pytest that comes with the library: tests have regions of their own, in files, and
each test and each process of pytest-xdist begins with empty ones. ``-p no:regions`` turns it off.

Marks: ``regions_bypassed``: nothing is stored or found stored in this test.
``regions_as_configured``: managers that this test makes are as they are configured.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

# Not at the top: whoever measures coverage begins when plugins are loaded, and the library with
# Beaker is not to be loaded before.

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests() -> None:
    from beaker_regions.config.isolation import isolate

    isolate()


def pytest_configure(config: pytest.Config) -> None:
    for mark in (
        "regions_bypassed: nothing is stored or found stored in this test",
        "regions_as_configured: managers that this test makes are as they are configured",
    ):
        config.addinivalue_line("markers", mark)


@pytest.fixture(autouse=True)
def _regions_of_the_test(request: pytest.FixtureRequest) -> Iterator[None]:
    from contextlib import ExitStack

    from beaker_regions.testing import as_configured, bypassed, fresh

    fresh()
    with ExitStack() as stack:
        if request.node.get_closest_marker("regions_as_configured"):
            stack.enter_context(as_configured())
        if request.node.get_closest_marker("regions_bypassed"):
            stack.enter_context(bypassed())
        yield
