"""Under gunicorn's gevent worker, whose sockets take the place of Python's."""

from __future__ import annotations

import sys
from http.client import HTTPConnection
from typing import TYPE_CHECKING

import pytest

from tests.servers import Memcached, Server
from tests.waiting import PATIENCE, stored_value

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

APPLICATION = """
import os
from beaker_regions import CacheManager, parse_cache_config_options

cache = CacheManager(**parse_cache_config_options({
    "cache.regions": "functions",
    "cache.functions.type": "ext:memcached",
    "cache.functions.url": os.environ["TEST_SERVER"],
    "cache.functions.timeout": 0.2,
    "cache.functions.retry": 0.001,
    "cache.functions.secret": "of the tests",
}))
loads = 0

@cache.region("functions")
def load():
    global loads
    loads += 1
    return loads

def application(environ, start_response):
    if environ["PATH_INFO"] == "/invalidate":
        load.invalidate()
    body = str(load()).encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
"""


class Gunicorn(Server):
    """Gunicorn with one gevent worker."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder

    def command(self) -> list[str]:
        options = ("-k", "gevent", "-b", self.address, "--no-control-socket")
        folder = str(self._folder)
        return [sys.executable, "-m", "gunicorn", *options, "--pythonpath", folder, "served"]

    def get(self, path: str) -> int:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        connection.request("GET", path)
        answer = connection.getresponse().read()
        connection.close()
        return int(answer)

    def hit(self) -> int:
        """Wait for a stored value, and return it."""
        return stored_value(lambda: self.get("/"))


@pytest.fixture
def gunicorn(tmp_path: Path, server: Memcached) -> Iterator[Gunicorn]:
    (tmp_path / "served.py").write_text(APPLICATION)
    made = Gunicorn(tmp_path)
    made.environment = {"TEST_SERVER": server.address}
    made.start()
    yield made
    made.kill()


def test_a_memcached_that_is_stopped_hangs_no_request(
    gunicorn: Gunicorn, server: Memcached
) -> None:
    gunicorn.hit()
    server.pause()
    first = gunicorn.get("/")
    assert gunicorn.get("/") > first
    last = gunicorn.get("/invalidate")
    server.resume()
    assert gunicorn.get("/") > last, "it was invalidated"
    assert gunicorn.hit() > last
