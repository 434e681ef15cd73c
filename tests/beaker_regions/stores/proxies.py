"""A proxy before a memcached or a Redis: it sees every request, and can be made to misbehave."""

from __future__ import annotations

import contextlib
import re
import select
import socket
import threading
from collections.abc import Callable

Answer = Callable[[str], bytes | None]
"""From a request's first line to what the client gets: None for the server's own answer, nothing
for a closed connection."""

_REQUEST = re.compile(
    rb"^(?:(?:get|gets|gat|set|add|replace|cas|touch|delete|incr|m[gsdan]) .*?|stats|\*\d+)(?=\r)"
)


def forward(request: str) -> None:
    """Let the server answer."""


class Relay:
    """Listens on a port of its own, and serves what connects to it with a connection to the
    server's; how, is for its subclasses to say."""

    def __init__(self, port: int) -> None:
        self._target = ("127.0.0.1", port)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=100)
        self.port = int(self._listener.getsockname()[1])
        self.address = f"127.0.0.1:{self.port}"
        self.connections = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Listen no longer: connections are refused from now on."""
        # Only a shutdown wakes the thread that accepts.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self.connections += 1
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError), client, socket.create_connection(self._target) as server:
            self._pass_on(client, server)

    def _pass_on(self, client: socket.socket, server: socket.socket) -> None:
        """Both are closed when this returns."""
        raise NotImplementedError


class Proxy(Relay):
    """Passes on what it gets to the server."""

    def __init__(self, port: int) -> None:
        self.requests: list[str] = []
        """The first line of each."""
        self.answer: Answer = forward
        self.halves = 0.0
        """How many of the server's next answers to pass on by half, and then close."""
        super().__init__(port)

    def _pass_on(self, client: socket.socket, server: socket.socket) -> None:
        answer: bytes | None = None
        while True:
            ready, _, _ = select.select([client, server], [], [])
            if server in ready:
                received = server.recv(1 << 16)
                if not received:
                    return
                if self.halves:
                    self.halves -= 1
                    client.sendall(received[: len(received) // 2])
                    return
                client.sendall(received)
            if client in ready:
                received = client.recv(1 << 16)
                if not received:
                    return
                if match := _REQUEST.match(received):
                    request = match[0].decode()
                    self.requests.append(request)
                    answer = self.answer(request)
                    if answer is not None:
                        client.sendall(answer)
                    if answer is not None and not answer.endswith(b"\n"):
                        return
                if answer is None:
                    server.sendall(received)


class SlowNetwork(Relay):
    """Passes on what clients send to a server's port after ``wait``, as a network does after some
    time: what was sent at once arrives at once. ``messages``: how often something arrived."""

    def __init__(self, port: int, wait: Callable[[], object]) -> None:
        self.wait = wait
        self.messages = 0
        super().__init__(port)

    def _pass_on(self, client: socket.socket, server: socket.socket) -> None:
        back = threading.Thread(target=self._forward, args=(server, client), daemon=True)
        back.start()
        self._forward(client, server, delayed=True)
        back.join()

    def _forward(
        self, source: socket.socket, target: socket.socket, *, delayed: bool = False
    ) -> None:
        with contextlib.suppress(OSError):
            while received := source.recv(1 << 18):
                if delayed:
                    self.wait()
                    self.messages += 1
                target.sendall(received)
            target.shutdown(socket.SHUT_WR)
