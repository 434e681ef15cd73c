"""A database on a network: MariaDB behind a proxy that loses answers."""

from __future__ import annotations

import contextlib
import re
import select
import socket
import threading

_COMMIT = re.compile(rb"^commit$", re.IGNORECASE)
_AUTOCOMMIT = re.compile(rb"^set autocommit ?= ?1$", re.IGNORECASE)
_HEADER = 5
"""Bytes before a statement: length, number, command."""


class LosingProxy:
    """Passes on what it gets to the server at a port, until what is to be lost comes by."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=10)
        self.port = int(self._listener.getsockname()[1])
        self.loses = ""
        """Of the next commit: its "question", its "answer", or what comes "next"."""
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        target = ("127.0.0.1", self._target)
        with contextlib.suppress(OSError), client, socket.create_connection(target) as server:
            self._pass_on(client, server)

    def _pass_on(self, client: socket.socket, server: socket.socket) -> None:
        committing = False
        while True:
            ready, _, _ = select.select([client, server], [], [])
            if server in ready:
                received = server.recv(1 << 16)
                if not received or (committing and self.loses == "answer"):
                    return
                client.sendall(received)
            if client in ready:
                received = client.recv(1 << 16)
                if not received:
                    return
                statement = received[_HEADER:]
                if committing and self.loses == "next" and _AUTOCOMMIT.match(statement):
                    return
                committing = bool(_COMMIT.match(statement))
                if committing and self.loses == "question":
                    return
                server.sendall(received)
