"""A database on a network: MariaDB behind a proxy that loses answers."""

from __future__ import annotations

import re
import select
from typing import TYPE_CHECKING

from tests.beaker_regions.stores.proxies import Relay

if TYPE_CHECKING:
    import socket

_COMMIT = re.compile(rb"^commit$", re.IGNORECASE)
_AUTOCOMMIT = re.compile(rb"^set autocommit ?= ?1$", re.IGNORECASE)
_HEADER = 5
"""Bytes before a statement: length, number, command."""


class LosingProxy(Relay):
    """Forwards bytes to the server at a port, until the part to lose comes."""

    def __init__(self, port: int) -> None:
        self.loses = ""
        """The part of the next commit to lose: its "question", its "answer", or the "next"
        statement."""
        super().__init__(port)

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
