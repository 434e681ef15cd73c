"""The library's pytest plugin. Tests use regions of their own, in files.

Each test, and each process of pytest-xdist, starts with empty regions. ``-p no:regions`` turns the
plugin off. Marks: ``regions_bypassed``: this test neither reads nor stores entries.
``regions_as_configured``: managers that this test makes are not isolated.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

# The library is imported within functions: measurement of coverage starts when plugins are loaded,
# and must see the import of the library and of Beaker.

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests() -> None:
    from beaker_regions.config.isolation import isolate

    isolate()


def pytest_configure(config: pytest.Config) -> None:
    for mark in (
        "regions_bypassed: this test neither reads nor stores entries",
        "regions_as_configured: managers that this test makes are not isolated",
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
