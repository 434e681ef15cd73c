"""Counters and settings that a memcached reports (protocol.txt, "Statistics")."""

from __future__ import annotations

import socket
import time
from collections.abc import Mapping

from beaker_regions.errors import StoreUnavailableError
from beaker_regions.stores.memcached.binary_protocol import statistics
from beaker_regions.stores.memcached.chunks import PART_SIZE
from beaker_regions.stores.memcached.wire import Host
from beaker_regions.telemetry import units

LEAST_MEMORY = 64 << 20
"""Bytes of memory of a server below which there is a warning."""
CLOCK = 2.0
"""Seconds by which a server's clock may differ. It counts whole seconds."""
PATIENCE = 1.0
"""Seconds; long, because a person waits, and a busy server must not look unreachable."""


def status(server: str, credentials: tuple[str, str] | None = None) -> dict[str, str]:
    """Return the values of ``stats`` and ``stats settings``, ``answered_in`` (seconds) and
    ``answered_at`` (by this host's clock). Raises StoreUnavailableError."""
    started = time.monotonic()
    try:
        with Host(server, PATIENCE, credentials).connected() as connection:
            connection.settimeout(PATIENCE)
            if credentials is None:
                found = _of_text(connection)
            else:
                groups = [statistics(connection, group) for group in ("settings", "")]
                found = groups[0] | groups[1]
    except (OSError, StoreUnavailableError, ValueError) as error:
        raise StoreUnavailableError("server", f"memcached {server}: {error}") from error
    found["answered_at"] = f"{time.time():.6f}"
    found["answered_in"] = f"{time.monotonic() - started:.6f}"
    return found


def remarks(answer: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return what is wrong with a server: "warning" or "error", and a message with the mend."""
    found = _clock(float(answer["time"]) - float(answer["answered_at"]))
    largest = int(answer.get("item_size_max", PART_SIZE))
    if largest < PART_SIZE + 1024:
        found.append(
            ("error", f"takes items of {largest} bytes only: start it with -I {PART_SIZE * 2}")
        )
    memory = int(answer.get("limit_maxbytes", LEAST_MEMORY))
    if memory < LEAST_MEMORY:
        found.append(("warning", f"has only {units.size(memory)} of memory"))
    if evicted := int(answer.get("evictions", 0)):
        found.append(("warning", f"has evicted {evicted} items for lack of memory"))
    return found


def _clock(off: float) -> list[tuple[str, str]]:
    if -CLOCK <= off <= CLOCK - 1:
        return []
    # Matters only for entries that live for more than 30 days: shorter times are relative.
    return [("warning", f"its clock is {off:+.0f} s off this host's")]


def _of_text(connection: socket.socket) -> dict[str, str]:
    """Return both groups by the text protocol. The settings have some of the names of the counters,
    which come first."""
    with connection.makefile("rwb") as stream:
        stream.write(b"stats\r\nstats settings\r\n")
        stream.flush()
        found: dict[str, str] = {}
        for _ in range(2):
            while (line := stream.readline()) != b"END\r\n":
                word, name, value = line.decode().rstrip("\r\n").split(" ", 2)
                if word != "STAT":
                    raise ValueError(f"it answers {line!r}")
                found.setdefault(name, value)
    return found
