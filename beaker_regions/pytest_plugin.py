"""The library's pytest plugin. Tests use regions of their own, in files.

Each test, and each process of pytest-xdist, starts with empty regions. ``-p no:regions`` turns the
plugin off. Marks: ``regions_bypassed``: this test neither reads nor stores entries.
``regions_as_configured``: managers that this test makes are not isolated.

The option ``regions_dependencies`` (``off``, ``warn`` or ``error``; also as the mark of that name,
for one test) checks which tables cached functions, pages and fragments read
(`beaker_regions.django.models.reads`). ``error`` fails the test in which one of them reads a table
without a dependency on it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

# The library is imported within functions: measurement of coverage starts when plugins are loaded,
# and must see the import of the library and of Beaker.

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from beaker_regions.django.models.reads import Collector

MODES = ("off", "warn", "error")


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests() -> None:
    from beaker_regions.config.isolation import isolate

    isolate()


def pytest_configure(config: pytest.Config) -> None:
    for mark in (
        "regions_bypassed: this test neither reads nor stores entries",
        "regions_as_configured: managers that this test makes are not isolated",
        "regions_dependencies(mode): off, warn or error, instead of the option of that name",
    ):
        config.addinivalue_line("markers", mark)
    mode = config.getoption("regions_dependencies") or config.getini("regions_dependencies")
    if mode not in MODES:
        raise pytest.UsageError(f"regions_dependencies = {mode}: write {', '.join(MODES)}")
    if mode != "off":
        config.pluginmanager.register(DependencyCheck(mode))


def pytest_addoption(parser: pytest.Parser) -> None:
    text = "what happens if a cached function reads a table without a dependency on it"
    parser.addini(
        "regions_dependencies", f"{text}: off (the default), warn or error", default="off"
    )
    group = parser.getgroup("regions")
    group.addoption("--regions-dependencies", choices=MODES, help=f"{text}; overrides the ini file")


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


class DependencyWarning(pytest.PytestWarning):
    """A cached function reads a table without a dependency on it."""


class DependencyCheck:
    """Checks the dependencies of what each test loads, its fixtures included."""

    def __init__(self, mode: str) -> None:
        self._mode = mode
        self._collector: Collector | None = None

    def pytest_sessionstart(self) -> None:
        try:
            from beaker_regions.django.models import reads

            collector = reads.Collector()
            reads.switch_on(collector)
        except Exception as error:
            raise pytest.UsageError(f"regions_dependencies needs Django: {error}") from error
        self._collector = collector

    def pytest_sessionfinish(self) -> None:
        if self._collector is not None:
            from beaker_regions.django.models import reads

            reads.switch_off()

    def pytest_runtest_setup(self) -> None:
        self._taken()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, Any, Any]:
        return (yield from self._checked(item, "call"))

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> Generator[None, Any, Any]:
        return (yield from self._checked(item, "teardown"))

    def _checked(self, item: pytest.Item, when: str) -> Generator[None, Any, Any]:
        try:
            result = yield
        except BaseException:
            if found := self._taken():
                item.add_report_section(when, "regions", found)
            raise
        found = self._taken()
        mark = item.get_closest_marker("regions_dependencies")
        mode = mark.args[0] if mark is not None and mark.args else self._mode
        if mode not in MODES:
            raise pytest.UsageError(f"regions_dependencies({mode!r}): write {', '.join(MODES)}")
        if found and mode == "warn":
            item.warn(DependencyWarning(found))
        elif found and mode == "error":
            pytest.fail(found, pytrace=False)
        return result

    def _taken(self) -> str:
        """Return what was found since the last call, one finding a line."""
        return "\n".join(map(str, self._collector.take())) if self._collector is not None else ""
