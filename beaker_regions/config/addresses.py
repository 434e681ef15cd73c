"""The addresses of servers in the configuration."""

from __future__ import annotations

import math
import re
from typing import Any

_HOST = r"(?:\[[0-9A-Fa-f:.%]+\]|[A-Za-z0-9._-]+)"
_SERVER = re.compile(
    rf"(?:(?P<unix>unix:/[^?]+)|(?P<host>{_HOST})(?::(?P<port>\d{{1,5}}))?)"
    r"(?:\?weight=(?P<weight>\d+(?:\.\d+)?))?\Z"
)


def servers(value: Any) -> tuple[tuple[str, float], ...]:
    """Return the addresses and weights of servers.

    ``value`` is a text of addresses, separated by semicolons, commas or spaces, or a list of
    addresses or of pairs of address and weight. An address is ``host:port``, ``[IPv6]:port`` or
    ``unix:/path``, and may end in ``?weight=2``. The weight 0 is for a server that is about to be
    added or removed. Raises ValueError with the address that cannot be used.
    """
    given = re.split(r"[;,\s]+", value.strip()) if isinstance(value, str) else list(value or ())
    found = dict(_server(*(each if isinstance(each, tuple) else (each,))) for each in given if each)
    if not found:
        raise ValueError("name at least one server, such as 127.0.0.1:11211")
    if not any(found.values()):
        raise ValueError("a server of weight 0 stores nothing: give another server a higher weight")
    if len(found) < len(list(filter(None, given))):
        raise ValueError("the same server is named twice")
    return tuple(found.items())


def _server(address: Any, weight: Any = None) -> tuple[str, float]:
    match = _SERVER.match(address) if isinstance(address, str) else None
    if match is None or int(match["port"] or 0) > 65535:
        raise ValueError(
            f"{address!r} is not the address of a server; "
            f"write host:port, [IPv6]:port or unix:/path"
        )
    weight = float(match["weight"] or 1) if weight is None else weight
    if not isinstance(weight, int | float) or not 0 <= weight < math.inf:
        raise ValueError(f"{address!r}: a weight is a number that is not negative")
    return match["unix"] or f"{match['host']}:{match['port'] or 11211}", float(weight)
