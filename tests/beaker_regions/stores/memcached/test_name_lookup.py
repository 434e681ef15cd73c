"""Names and numbers of servers: looked up within the time-out, of IPv4 and IPv6."""

from __future__ import annotations

import socket
import subprocess
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from beaker_regions.stores.servers import name_lookup
from tests.servers import SEARCH_PATH, Memcached, free_port
from tests.waiting import PATIENCE, stored_value

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.beaker_regions.conftest import Calls, Manager


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """Names that the system's resolver knows, to what it answers; or an event that it waits for."""
    names: dict[str, Any] = {}
    ask = socket.getaddrinfo

    def getaddrinfo(host: Any, *args: Any, **options: Any) -> Any:
        known = names.get(host)
        if known is None:
            return ask(host, *args, **options)
        if isinstance(known, threading.Event):
            known.wait(PATIENCE)
            known = ["127.0.0.1"]
        return [found for number in known for found in ask(number, *args, **options)]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    yield names
    name_lookup._forget_all()


def test_a_resolver_that_hangs_costs_a_time_out(
    connected: Manager, memcached: Memcached, resolver: dict[str, Any], calls: Calls
) -> None:
    answered = resolver["hangs.invalid"] = threading.Event()
    cache = connected(f"hangs.invalid:{memcached.port}", timeout=0.05, retry=0.001)

    @cache.region("functions")
    def load() -> int:
        return calls()

    threads = threading.active_count()
    started = time.monotonic()
    assert (load(), load(), load()) == (1, 2, 3)
    assert time.monotonic() - started < 30
    assert threading.active_count() <= threads + 1, "a name is looked up once at a time"
    answered.set()
    stored_value(load)


@pytest.fixture
def ipv6_port() -> Iterator[int]:
    """The port of a memcached that listens on IPv6 alone."""
    port = free_port()
    command = ["memcached", "-l", "::1", "-p", str(port), "-U", "0", "-u", "nobody"]
    with subprocess.Popen(command, env={"PATH": SEARCH_PATH}) as process:
        deadline = time.monotonic() + PATIENCE
        while process.poll() is None:
            try:
                socket.create_connection(("::1", port), timeout=1).close()
                break
            except OSError:
                assert time.monotonic() < deadline
                time.sleep(0.01)
        else:
            pytest.skip("this machine has no IPv6")
        yield port
        process.kill()


@pytest.mark.parametrize("numbers", [["::1"], ["127.0.0.1", "::1"]])
def test_a_name_may_stand_for_ipv6(
    connected: Manager, resolver: dict[str, Any], calls: Calls, ipv6_port: int, numbers: list[str]
) -> None:
    resolver["six.invalid"] = numbers
    for url in (f"six.invalid:{ipv6_port}", f"[::1]:{ipv6_port}"):

        def load(url: str) -> int:
            return calls()

        load = connected(url).region("functions")(load)
        assert load(url) == load(url)
