"""The servers of the tests are those that a test has started."""

from __future__ import annotations

import socket
import subprocess
import sys

from tests.servers import free_port


def test_no_two_runs_get_the_same_port() -> None:
    code = "from tests.servers import free_port; print(*[free_port() for _ in range(200)])"
    other = subprocess.Popen(
        [sys.executable, "-c", f"{code}; input()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with other:
        assert other.stdout is not None
        theirs = set(map(int, other.stdout.readline().split()))
        ours = {free_port() for _ in range(200)}
        assert ours.isdisjoint(theirs)
        other.communicate("\n")


def test_a_port_that_is_taken_is_not_free() -> None:
    port = free_port()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        assert port not in {free_port() for _ in range(200)}
