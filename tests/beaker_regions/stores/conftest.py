"""Memcached servers to misuse, and the client libraries that must bear it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest

from tests.beaker_regions.conftest import Manager, make_manager
from tests.beaker_regions.stores.proxies import Proxy
from tests.servers import Memcached

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from beaker_regions import CacheManager


@pytest.fixture(params=["memcache", "pylibmc"])
def client(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def proxy(memcached: Memcached) -> Iterator[Proxy]:
    """A proxy before a memcached that is up and empty."""
    made = Proxy(memcached.port)
    yield made
    made.close()


@pytest.fixture
def server() -> Iterator[Memcached]:
    """A memcached of this test alone, to kill and pause."""
    made = Memcached()
    made.start()
    yield made
    made.kill()


@pytest.fixture
def connected(client: str) -> Manager:
    """Make managers of a region on the servers of ``url``, through each client library.

    A machine that is busy with tests is no fault, so the time-out is long unless it is given.
    """

    def make(url: str, **options: object) -> object:
        own = {"memcache_module": client, "timeout": 5, "secret": "of the tests", **options}
        return make_manager(type="ext:memcached", url=url, **own)

    return make  # type: ignore[return-value]


@pytest.fixture
def one_line_a_kind(caplog: pytest.LogCaptureFixture) -> Callable[[CacheManager], None]:
    """Check that something failed and was counted, and that each kind was logged once."""
    caplog.set_level(logging.WARNING, "beaker_regions")

    def check(cache: CacheManager) -> None:
        counted = failures(cache)
        assert counted
        lines = [record.getMessage() for record in caplog.records]
        for event in counted:
            kind = event.removeprefix("failed.")
            assert len([line for line in lines if f": {kind}: " in line]) == 1, lines
        assert len(lines) == len(counted)

    return check


def failures(cache: CacheManager) -> dict[str, int]:
    """Return what failed, and how often."""
    counts = cache["functions"].stats.snapshot()
    return {event: count for event, count in counts.items() if event.startswith("failed.")}
