"""Servers of Redis that tests may end, and managers of regions on them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.servers import Redis

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Start = Callable[..., Redis]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start a server of this test alone; options of its command line are given."""
    servers: list[Redis] = []

    def started(*options: str) -> Redis:
        folder = tmp_path / f"server {len(servers)}"
        folder.mkdir()
        server = Redis("--dir", str(folder), "--repl-diskless-sync-delay", "0", *options)
        servers.append(server)
        server.start()
        return server

    yield started
    for server in servers:
        server.kill()
